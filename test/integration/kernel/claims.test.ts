import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals'
import { domainEvent, z } from '../../../src/kernel/domain/index.js'
import type { UnitOfWork } from '../../../src/kernel/persistence/unit-of-work.js'
import type { Node } from '../../../src/node.js'
import { createFreshDatabase, type FreshDatabase, query } from '../../support/fresh-database.js'
import { Gate } from '../../support/gate.js'
import { reactions } from '../../support/scripted-module.js'
import { startTestNode } from '../../support/test-node.js'
import { until } from '../../support/until.js'

class TestEvent extends domainEvent('scripted.effect', z.object({ userId: z.string() })) {}

let database: FreshDatabase

beforeAll(async () => {
  database = await createFreshDatabase()
  await query(database, 'create table effect (name text)')
})
afterEach(async () => {
  reactions.first = async () => {}
  await query(database, 'truncate effect')
})
afterAll(() => database.drop())

/** Commits an event for each name, all at once, so that they are claimed together. */
async function commitTogether(node: Node, names: readonly string[]): Promise<void> {
  await query(
    database,
    `insert into aftercommit_kernel.outbox_message (type, payload)
     select 'users.user-registered',
       jsonb_build_object('userId', gen_random_uuid(), 'email', name || '@example.org', 'name', name)
     from unnest($1::text[]) with ordinality as n (name, place) order by place`,
    [names],
  )
  await node.parts.dispatcher.dispatch()
}

async function writeEffect(unitOfWork: UnitOfWork, name: string): Promise<void> {
  await unitOfWork.changeMany([new TestEvent({ userId: name })], (manager) =>
    manager.query('insert into effect values ($1)', [name]),
  )
}

async function effects(): Promise<string[]> {
  return (await query<{ name: string }>(database, 'select name from effect order by name')).map(
    ({ name }) => name,
  )
}

function deliveries(names: readonly string[]): Promise<{ name: string; state: string; attempts: number }[]> {
  return query(
    database,
    `select m.payload->>'name' as name, d.state, d.attempts from aftercommit_kernel.event_delivery d
     join aftercommit_kernel.outbox_message m using (position)
     where d.handler = 'scripted.first' and m.payload->>'name' = any($1) order by position`,
    [names],
  )
}

async function allDone(names: readonly string[]): Promise<void> {
  await until('all are done', async () => {
    const rows = await deliveries(names)
    return rows.length === names.length && rows.every(({ state }) => state === 'done')
  })
}

const named = (prefix: string, count: number) =>
  Array.from({ length: count }, (_, index) => `${prefix}-${index}`)

test('a node that stops gives back the events that it has claimed and not begun, uncounted', async () => {
  const node = await startTestNode(database)
  const gate = new Gate()
  const begun: string[] = []
  reactions.first = async ({ name }, _event, unitOfWork) => {
    await writeEffect(unitOfWork, name)
    begun.push(name)
    if (name === 'stop-1') await gate.opened
  }
  const names = named('stop', 4)
  await commitTogether(node, names)
  await until('the second event is being handled', () => begun.length === 2)
  const stopped = node.stop()
  gate.open()
  await stopped
  expect(begun).toEqual(['stop-0', 'stop-1'])
  expect(await effects()).toEqual(['stop-0', 'stop-1'])
  expect(await deliveries(names)).toEqual([
    { name: 'stop-0', state: 'done', attempts: 1 },
    { name: 'stop-1', state: 'done', attempts: 1 },
    { name: 'stop-2', state: 'pending', attempts: 0 },
    { name: 'stop-3', state: 'pending', attempts: 0 },
  ])

  const another = await startTestNode(database)
  await allDone(names)
  expect(await effects()).toEqual(names)
  expect((await deliveries(names)).map(({ attempts }) => attempts)).toEqual([1, 1, 1, 1])
  await another.stop()
})

describe('events that are handled together', () => {
  let node: Node
  // Each with a node of its own: one that has just been slow claims fewer at a time.
  beforeEach(async () => {
    node = await startTestNode(database)
  })
  afterEach(() => node.stop())

  test('do not share a failure: it alone is rolled back and tried again, and none is handled twice', async () => {
    const runs = new Map<string, number>()
    reactions.first = async ({ name }, { attempt }, unitOfWork) => {
      runs.set(name, (runs.get(name) ?? 0) + 1)
      await writeEffect(unitOfWork, name)
      if (name === 'fail-3' && attempt === 1) throw new Error('fails once')
      // A statement that Postgres refuses aborts the transaction, unless that went back to a savepoint.
      if (name === 'fail-5' && attempt === 1) await unitOfWork.savepoint(() => writeEffect(unitOfWork, name))
      if (name === 'fail-6' && attempt === 1)
        await unitOfWork.changeMany([new TestEvent({ userId: name })], (manager) =>
          manager.query('select 1/0'),
        )
    }
    const names = named('fail', 8)
    await commitTogether(node, names)
    await allDone(names)
    expect((await deliveries(names)).map(({ attempts }) => attempts)).toEqual([1, 1, 1, 2, 1, 1, 2, 1])
    expect([...runs.values()]).toEqual([1, 1, 1, 2, 1, 1, 2, 1])
    expect(await effects()).toEqual([...names, 'fail-5'].sort())
    const events = await query(
      database,
      `select from aftercommit_kernel.outbox_message where type = 'scripted.effect' and payload->>'userId' like 'fail-%'`,
    )
    expect(events).toHaveLength(9)
  })

  test('of which one swallowed a refused statement are all handled once, that one not before its retry', async () => {
    reactions.first = async ({ name }, { attempt }, unitOfWork) => {
      await writeEffect(unitOfWork, name)
      if (name !== 'swallow-1' || attempt > 1) return
      await unitOfWork
        .changeMany([new TestEvent({ userId: name })], (manager) => manager.query('select 1/0'))
        .catch(() => {})
    }
    const names = named('swallow', 3)
    await commitTogether(node, names)
    await allDone(names)
    expect((await deliveries(names)).map(({ attempts }) => attempts)).toEqual([1, 2, 1])
    expect(await effects()).toEqual(names)
  })

  test('and whose COMMIT fails are each run again by itself, and only the one to blame is tried again', async () => {
    await query(database, `create table parent (name text primary key)`)
    await query(
      database,
      `create table child (name text references parent (name) deferrable initially deferred)`,
    )
    reactions.first = async ({ name }, { attempt }, unitOfWork) => {
      await writeEffect(unitOfWork, name)
      if (name === 'commit-2' && attempt === 1)
        await unitOfWork.changeMany([new TestEvent({ userId: name })], (manager) =>
          manager.query(`insert into child values ('nobody')`),
        )
    }
    const names = named('commit', 4)
    await commitTogether(node, names)
    await allDone(names)
    expect((await deliveries(names)).map(({ attempts }) => attempts)).toEqual([1, 1, 2, 1])
    expect(await effects()).toEqual(names)
  })

  test('of which one claim has passed to another node are each handled once, that one by the new owner', async () => {
    const gate = new Gate()
    const begun: string[] = []
    reactions.first = async ({ name }, { attempt }, unitOfWork) => {
      begun.push(`${name}, attempt ${attempt}`)
      await writeEffect(unitOfWork, name)
      if (name === 'lost-0' && attempt === 1) await gate.opened
    }
    const names = named('lost', 3)
    await commitTogether(node, names)
    await until('the first of them is being handled', () => begun.length === 1)
    const another = await startTestNode(database)
    await query(
      database,
      `update aftercommit_kernel.event_delivery d set next_attempt_at = clock_timestamp()
       from aftercommit_kernel.outbox_message m
       where m.position = d.position and d.handler = 'scripted.first' and m.payload->>'name' = 'lost-1'`,
    )
    await allDone(['lost-1'])
    gate.open()
    await allDone(names)
    expect((await deliveries(names)).map(({ attempts }) => attempts)).toEqual([1, 2, 1])
    expect(begun).toContain('lost-1, attempt 1')
    await another.stop()
    expect(await effects()).toEqual(names)
  })

  test('whose node dies before COMMIT come back with their attempt counted, one by one, and have one effect', async () => {
    reactions.first = async ({ name }, { attempt }, unitOfWork) => {
      await writeEffect(unitOfWork, name)
      // As if the process had ended here: the connection breaks, and with it all that was not committed.
      if (name === 'death-2' && attempt === 1)
        await unitOfWork.changeMany([new TestEvent({ userId: name })], (manager) =>
          manager.query('select pg_terminate_backend(pg_backend_pid())'),
        )
    }
    const names = named('death', 4)
    await commitTogether(node, names)
    await allDone(names)
    expect(await effects()).toEqual(names)
  })

  test('are claimed by several nodes at once, none of them twice or never', async () => {
    const seen: string[] = []
    reactions.first = async ({ name }) => {
      seen.push(name)
    }
    const others = [await startTestNode(database), await startTestNode(database)]
    const names = named('share', 500)
    await commitTogether(node, names)
    await allDone(names)
    for (const other of others) await other.stop()
    expect(seen).toHaveLength(names.length)
    expect(new Set(seen).size).toBe(names.length)
  })
})

test('behind an event that kills every process that handles it, others keep their attempts', async () => {
  const mortal = await createFreshDatabase()
  const node = await startTestNode(mortal)
  // Without its loops: the test claims by itself.
  await node.stop()
  await query(
    mortal,
    `insert into aftercommit_kernel.outbox_message (type, payload)
     select 'users.user-registered', '{}' from generate_series(1, 3)`,
  )
  await query(mortal, 'select aftercommit_kernel.number_outbox(10)')
  const { deliveries, dataSource, unitOfWork } = node.parts
  await dataSource.initialize()
  // Claims that last 0 ms stand for processes that die at once.
  const next = await deliveries.claimNext('scripted.first', 'users.user-registered', 10, 10, 0)
  expect(next.deliveries.map(({ attempt }) => attempt)).toEqual([1, 1, 1])
  const killer = next.deliveries[0]?.position
  for (let claims = 0; claims < 6; claims++) {
    const [claimed, ...others] = await deliveries.claim('scripted.first', 'retried', 1, 0)
    expect(others).toEqual([])
    if (claimed && claimed.position !== killer)
      await unitOfWork.runEach(
        [claimed],
        async () => {},
        async (manager) => {
          expect(await deliveries.complete(manager, [claimed])).toBe(true)
        },
      )
  }
  const rows = await query<{ state: string; attempts: number }>(
    mortal,
    `select state, attempts from aftercommit_kernel.event_delivery where handler = 'scripted.first' order by position`,
  )
  expect(rows).toEqual([
    { state: 'pending', attempts: 5 },
    { state: 'done', attempts: 2 },
    { state: 'done', attempts: 2 },
  ])
  await dataSource.destroy()
  await mortal.drop()
})
