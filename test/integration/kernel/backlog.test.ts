import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { createFreshDatabase, type FreshDatabase, query } from '../../support/fresh-database.js'
import { rareChecks, startTestNode } from '../../support/test-node.js'
import { until } from '../../support/until.js'

let database: FreshDatabase

beforeAll(async () => {
  database = await createFreshDatabase()
})
afterAll(() => database.drop())

async function commit(events: number): Promise<void> {
  await query(
    database,
    `insert into aftercommit_kernel.outbox_message (type, payload)
     select 'users.user-renamed', jsonb_build_object('userId', gen_random_uuid(), 'name', n::text)
     from generate_series(1, $1) as n`,
    [events],
  )
}

test('a backlog larger than any batch is numbered without a gap and applied by every node, also by one that was there before', async () => {
  const early = await startTestNode(database)
  const backlog = 7_001
  await commit(backlog)
  const late = await startTestNode(database)
  for (const node of [early, late]) {
    await node.parts.check.run()
    expect(node.parts.applied.position).toBe(backlog)
    expect(node.parts.lease.holds()).toBe(true)
  }
  const [row] = await query<{ distinct: number; highest: number; unnumbered: number }>(
    database,
    `select count(distinct position)::integer as distinct, max(position)::integer as highest,
       count(*) filter (where position is null)::integer as unnumbered
     from aftercommit_kernel.outbox_message`,
  )
  expect(row).toEqual({ distinct: backlog, highest: backlog, unnumbered: 0 })
  expect(early.parts.applied.statistics.flushes).toBe(0)
  await until(
    'the others have heard of it',
    () => early.parts.applied.position === late.parts.applied.position,
  )
  await Promise.all([early.stop(), late.stop()])
}, 60_000)

test('thousands of events that are committed at once reach the other nodes by hints alone', async () => {
  const [writer, reader] = await Promise.all([
    startTestNode(database, { env: rareChecks }),
    startTestNode(database, { env: rareChecks }),
  ])
  await until('both listen', () =>
    [writer, reader].every(({ parts }) => parts.subscriber.statistics.reconnects > 0),
  )
  await Promise.all([writer.parts.check.run(), reader.parts.check.run()])
  const caughtUp: unknown[] = []
  reader.parts.applied.observe({ caughtUp: (reach) => caughtUp.push(reach) })
  await commit(4_321)
  const { position } = await writer.parts.dispatcher.dispatch()
  await until('the other has heard of it', () => reader.parts.applied.position === position)
  expect(reader.parts.applied.statistics.gaps).toBe(0)
  expect(caughtUp).toEqual([])
  await Promise.all([writer.stop(), reader.stop()])
}, 60_000)

test('a node that had to drop hints asks Postgres at once, not at its next regular check', async () => {
  const node = await startTestNode(database, { env: rareChecks })
  await until('it listens', () => node.parts.subscriber.statistics.reconnects > 0)
  await node.parts.check.run()
  const { position } = node.parts.applied
  await commit(3)
  node.parts.subscriber.lost()
  await until('it has caught up', () => node.parts.applied.position === position + 3)
  await node.stop()
}, 60_000)
