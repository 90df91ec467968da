import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals'
import { domainEvent, z } from '../../../src/kernel/domain/index.js'
import { WelcomeMessage } from '../../../src/modules/users/domain/welcome-message.js'
import type { Node } from '../../../src/node.js'
import { createFreshDatabase, type FreshDatabase, query } from '../../support/fresh-database.js'
import { Gate } from '../../support/gate.js'
import { reactions } from '../../support/scripted-module.js'
import { startTestNode } from '../../support/test-node.js'
import { until } from '../../support/until.js'
import { getUser, registerUser, renameUser } from '../../support/users.js'

class TestEvent extends domainEvent('scripted.effect', z.object({ userId: z.string() })) {}

let database: FreshDatabase
let nodes: [Node, Node]

beforeAll(async () => {
  database = await createFreshDatabase()
  nodes = [await startTestNode(database), await startTestNode(database)]
  await query(database, 'create table effect (handler text, user_id text)')
})
afterEach(() => {
  reactions.first = async () => {}
  reactions.second = async () => {}
})
afterAll(async () => {
  for (const node of nodes) await node.stop()
  await database.drop()
})

interface DeliveryRow {
  state: string
  attempts: number
  last_error: string | null
}

async function deliveryOf(handler: string, userId: string): Promise<DeliveryRow | undefined> {
  const rows = await query<DeliveryRow>(
    database,
    `select d.state, d.attempts, d.last_error from aftercommit_kernel.event_delivery d
     join aftercommit_kernel.outbox_message m using (position)
     where d.handler = $1 and m.payload->>'userId' = $2 and m.type = 'users.user-registered'`,
    [handler, userId],
  )
  expect(rows.length).toBeLessThanOrEqual(1)
  return rows[0]
}

async function setDelivery(handler: string, userId: string, assignments: string): Promise<void> {
  await query(
    database,
    `update aftercommit_kernel.event_delivery d set ${assignments} from aftercommit_kernel.outbox_message m
     where m.position = d.position and d.handler = $1 and m.payload->>'userId' = $2`,
    [handler, userId],
  )
}

function done(handler: string, userId: string): Promise<void> {
  return until(`${handler} is done`, async () => (await deliveryOf(handler, userId))?.state === 'done')
}

describe('an event handler', () => {
  test('gets every event, and has its effect in Postgres once for each, whichever node was the writer', async () => {
    const seen = new Map<string, number>()
    reactions.first = async ({ userId }) => {
      seen.set(userId, (seen.get(userId) ?? 0) + 1)
    }
    const users = await Promise.all(
      Array.from({ length: 40 }, (_, index) => registerUser(nodes[index % 2 ? 0 : 1])),
    )
    for (const { id } of users) {
      await done('scripted.first', id)
      await done('users.write-welcome-message', id)
      expect((await deliveryOf('scripted.first', id))?.attempts).toBe(1)
      expect(seen.get(id)).toBe(1)
    }
    const welcomes = await query(database, 'select from welcome_message where user_id = any($1)', [
      users.map(({ id }) => id),
    ])
    expect(welcomes).toHaveLength(users.length)
  })

  test('that fails is tried again by itself, holds up neither other handlers nor positions, and rolls back', async () => {
    const attempts: number[] = []
    reactions.first = async ({ userId, name }, { attempt }, unitOfWork) => {
      if (name !== 'Fails') return
      attempts.push(attempt)
      await unitOfWork.changeMany([new TestEvent({ userId })], (manager) =>
        manager.query(`insert into effect values ('first', $1)`, [userId]),
      )
      if (attempt < 3) throw new Error(`attempt ${attempt} failed`)
    }
    const { id } = await registerUser(nodes[0], 'Fails')
    await done('scripted.second', id)
    await renameUser(nodes[0], id, 'Renamed meanwhile')
    await until('the other node sees the write', async () => (await getUser(nodes[1], id))?.name !== 'Fails')
    const later = await registerUser(nodes[0])
    await done('scripted.first', later.id)
    await done('scripted.first', id)
    expect(attempts).toEqual([1, 2, 3])
    expect(await deliveryOf('scripted.first', id)).toEqual({ state: 'done', attempts: 3, last_error: null })
    expect(await query(database, `select from effect where handler = 'first'`)).toHaveLength(1)
  })

  test('that fails at its last attempt leaves a dead letter with the reason, and goes on with the next event', async () => {
    reactions.first = async ({ name }) => {
      if (name === 'Poison') throw new Error('cannot be handled')
    }
    const { id } = await registerUser(nodes[0], 'Poison')
    await until(
      'it has failed once',
      async () => (await deliveryOf('scripted.first', id))?.last_error != null,
    )
    expect((await deliveryOf('scripted.first', id))?.state).toBe('pending')
    await setDelivery('scripted.first', id, 'attempts = 9, next_attempt_at = clock_timestamp()')
    await until('it is dead', async () => (await deliveryOf('scripted.first', id))?.state === 'dead')
    expect(await deliveryOf('scripted.first', id)).toEqual({
      state: 'dead',
      attempts: 10,
      last_error: 'Error: cannot be handled',
    })
    const next = await registerUser(nodes[0])
    await done('scripted.first', next.id)
    expect((await deliveryOf('scripted.first', id))?.attempts).toBe(10)
  })

  test('whose claim was taken over applies nothing, and the new owner applies it once', async () => {
    const stuck = new Gate()
    const started = new Gate()
    const outcomes: string[] = []
    reactions.first = async ({ userId, name }, { attempt }, unitOfWork) => {
      if (name !== 'Slow') return
      await unitOfWork.changeMany([new TestEvent({ userId })], (manager) =>
        manager.query(`insert into effect values ('slow', $1)`, [userId]),
      )
      if (attempt === 1) {
        started.open()
        await stuck.opened
      }
      outcomes.push(`attempt ${attempt}`)
    }
    const { id } = await registerUser(nodes[0], 'Slow')
    await started.opened
    await setDelivery('scripted.first', id, 'next_attempt_at = clock_timestamp()')
    await done('scripted.first', id)
    stuck.open()
    await until('the first owner has given up', () => outcomes.length === 2)
    await until('its transaction has ended', async () => {
      const open = await query(
        database,
        `select from pg_stat_activity where datname = current_database() and state like 'idle in transaction%'`,
      )
      return open.length === 0
    })
    expect(await query(database, `select from effect where handler = 'slow'`)).toHaveLength(1)
    expect(await deliveryOf('scripted.first', id)).toMatchObject({ state: 'done', attempts: 2 })
  })

  test('gets what a dead node had claimed, once that claim has run out', async () => {
    const gate = new Gate()
    reactions.second = async ({ name }, { attempt }) => {
      // As a node that dies in the middle: its claim is counted and nothing else ever comes of it.
      if (name === 'Orphan' && attempt === 1) await gate.opened
    }
    const { id } = await registerUser(nodes[0], 'Orphan')
    await until('it is claimed', async () => (await deliveryOf('scripted.second', id))?.attempts === 1)
    await setDelivery('scripted.second', id, 'next_attempt_at = clock_timestamp()')
    await done('scripted.second', id)
    expect((await deliveryOf('scripted.second', id))?.attempts).toBe(2)
    gate.open()
  })

  test('that writes an aggregate has its events dispatched like any other', async () => {
    const { id } = await registerUser(nodes[0])
    await done('users.write-welcome-message', id)
    const [row] = await query(
      database,
      `select from aftercommit_kernel.outbox_message
       where type = 'users.welcome-message-written' and payload->>'userId' = $1`,
      [id],
    )
    expect(row).toBeDefined()
    expect(await nodes[0].parts.dataSource.getRepository(WelcomeMessage).existsBy({ userId: id })).toBe(true)
  })

  test('that is new begins with the present head, not with history', async () => {
    await nodes[0].parts.deliveries.register(['scripted.newcomer'])
    const [row] = await query<{ position: string; head: string }>(
      database,
      `select e.position, h.position as head from aftercommit_kernel.event_handler e,
       aftercommit_kernel.journal_head h where e.name = 'scripted.newcomer'`,
    )
    expect(row?.position).toBe(row?.head)
    await nodes[0].parts.deliveries.register(['scripted.newcomer'])
    expect(
      await query(
        database,
        `select from aftercommit_kernel.event_delivery where handler = 'scripted.newcomer'`,
      ),
    ).toEqual([])
  })
})
