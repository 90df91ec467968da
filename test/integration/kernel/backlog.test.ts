import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { createFreshDatabase, type FreshDatabase, query } from '../../support/fresh-database.js'
import { startTestNode } from '../../support/test-node.js'
import { until } from '../../support/until.js'

let database: FreshDatabase

beforeAll(async () => {
  database = await createFreshDatabase()
})
afterAll(() => database.drop())

test('a backlog larger than any batch is numbered without a gap and applied by every node, also by one that was there before', async () => {
  const early = await startTestNode(database)
  const backlog = 7_001
  await query(
    database,
    `insert into aftercommit_kernel.outbox_message (type, payload)
     select 'users.user-renamed', jsonb_build_object('userId', gen_random_uuid(), 'name', n::text)
     from generate_series(1, $1) as n`,
    [backlog],
  )
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
