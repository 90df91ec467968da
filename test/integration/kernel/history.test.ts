import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { systemClock } from '../../../src/kernel/clock.js'
import { Retention } from '../../../src/kernel/outbox/retention.js'
import type { Node } from '../../../src/node.js'
import { createFreshDatabase, type FreshDatabase, query } from '../../support/fresh-database.js'
import { silentLogger } from '../../support/silent-logger.js'
import { rareChecks, startTestNode } from '../../support/test-node.js'
import { until } from '../../support/until.js'
import { getUser, registerUser, renameUser } from '../../support/users.js'

let database: FreshDatabase
let nodes: [Node, Node]

beforeAll(async () => {
  database = await createFreshDatabase()
  nodes = [
    await startTestNode(database, { env: rareChecks }),
    await startTestNode(database, { env: rareChecks }),
  ]
})
afterAll(async () => {
  for (const node of nodes) await node.stop()
  await database.drop()
})

async function handledAll(): Promise<void> {
  await until('every event is handled', async () => {
    const rows = await query(
      database,
      `select from aftercommit_kernel.outbox_message where position is null
       union all select from aftercommit_kernel.event_delivery where state = 'pending'
       union all select from aftercommit_kernel.event_handler e, aftercommit_kernel.journal_head h
         where e.position < h.position`,
    )
    return rows.length === 0
  })
}

describe('a database that was set back', () => {
  test('to an earlier state is a new epoch on every node, and nothing cached before is served again', async () => {
    const { id } = await registerUser(nodes[0], 'kept by the dump')
    await handledAll()
    for (const node of nodes) await node.parts.check.run()
    await query(
      database,
      `create table dump_head as select position, numbering_id from aftercommit_kernel.journal_head`,
    )
    await renameUser(nodes[0], id, 'lost by the restore')
    for (const node of nodes) {
      await node.parts.check.run()
      expect((await getUser(node, id))?.name).toBe('lost by the restore')
    }
    const epoch = nodes[0].parts.applied.epoch
    await query(
      database,
      'delete from aftercommit_kernel.outbox_message where position > (select position from dump_head)',
    )
    await query(
      database,
      `update aftercommit_kernel.journal_head set (position, numbering_id) =
         (select position, numbering_id from dump_head)`,
    )
    await query(database, `update user_account set name = 'kept by the dump' where id = $1`, [id])
    for (const node of nodes) {
      await node.parts.check.run()
      expect((await getUser(node, id))?.name).toBe('kept by the dump')
    }
    expect(nodes[0].parts.applied.epoch).not.toBe(epoch)
    expect(nodes[1].parts.applied.epoch).toBe(nodes[0].parts.applied.epoch)
    await renameUser(nodes[1], id, 'after the restore')
    await until('both nodes go on', async () => {
      const names = await Promise.all(nodes.map(async (node) => (await getUser(node, id))?.name))
      return names.every((name) => name === 'after the restore')
    })
  })
})

describe('retention', () => {
  const retention = () => new Retention(nodes[0].parts.connections, 3_600_000, systemClock, silentLogger)

  test('takes what is old and handled, and nothing else', async () => {
    const { id } = await registerUser(nodes[0])
    await handledAll()
    await query(
      database,
      `update aftercommit_kernel.outbox_message set numbered_at = now() - interval '2 hours'`,
    )
    const recent = await registerUser(nodes[0])
    await handledAll()
    await query(
      database,
      `update aftercommit_kernel.event_delivery d set state = 'dead' from aftercommit_kernel.outbox_message m
       where m.position = d.position and d.handler = 'scripted.first' and m.payload->>'userId' = $1`,
      [id],
    )
    await query(
      database,
      `insert into aftercommit_kernel.outbox_message (type, payload, occurred_at)
       values ('users.unnumbered', '{}', now() - interval '1 year')`,
    )
    expect(await retention().deleteBatch()).toBeGreaterThan(0)
    const left = await query<{ type: string; user: string }>(
      database,
      `select type, payload->>'userId' as user from aftercommit_kernel.outbox_message order by id`,
    )
    expect(left).toEqual([
      { type: 'users.user-registered', user: id },
      { type: 'users.user-registered', user: recent.id },
      { type: 'users.welcome-message-written', user: recent.id },
      { type: 'users.unnumbered', user: null },
    ])
    expect(await retention().deleteBatch()).toBe(0)
  })

  test('that took what a node had not applied yet makes that node start afresh', async () => {
    const { id } = await registerUser(nodes[0], 'Ada')
    await handledAll()
    const [, deaf] = nodes
    await deaf.parts.check.run()
    await getUser(deaf, id)
    await deaf.parts.subscriber.stop()
    await renameUser(nodes[0], id, 'Grace')
    await registerUser(nodes[0])
    await handledAll()
    await query(
      database,
      `update aftercommit_kernel.outbox_message set numbered_at = now() - interval '2 hours'`,
    )
    await retention().deleteBatch()
    await deaf.parts.check.run()
    expect(deaf.parts.applied.statistics.flushes).toBeGreaterThan(0)
    expect((await getUser(deaf, id))?.name).toBe('Grace')
  })
})
