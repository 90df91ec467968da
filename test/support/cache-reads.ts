import type { ReadOptions } from '../../src/kernel/cache/cache-options.js'
import type { CacheSettings } from '../../src/kernel/cache/caches.js'
import type { HybridCache } from '../../src/kernel/cache/hybrid-cache.js'
import type { Factory } from '../../src/kernel/cache/load-context.js'
import { RedisTier } from '../../src/kernel/cache/shared/redis-tier.js'
import { Consistency } from '../../src/kernel/journal/consistency.js'
import type { JournalMessage } from '../../src/kernel/journal/journal.js'
import type { Node } from '../../src/node.js'
import type { CacheCluster } from './cache-cluster.js'
import { type FreshDatabase, query, setBackIn, withClient } from './fresh-database.js'
import { until } from './until.js'

export type OnAllNodes<Value = unknown> = readonly [HybridCache<Value>, ...HybridCache<Value>[]]

/** A new cache on nodes that stand at the same position, where a busy machine does not turn L2's answers into misses. */
export async function newCacheInStep<Value = unknown>(
  cluster: CacheCluster,
  settings: CacheSettings = {},
): Promise<OnAllNodes<Value>> {
  await cluster.inStep()
  const patient = { l2SoftTimeoutMs: 10_000, l2HardTimeoutMs: 10_000 }
  return cluster.newCache<Value>({ ...patient, ...settings }) as unknown as OnAllNodes<Value>
}

/** Past its time after a moment, and kept for fail-safe; each failure is followed by another attempt. */
export const briefAndSafe = { l1TtlMs: 60, l2TtlMs: 60, failSafe: true, failSafeThrottleMs: 0 }

/** What a request of its own is answered, and what its client is told of it: why it is stale, if it is. */
export async function ask<Value>(
  node: Node,
  cache: HybridCache<Value>,
  key: string,
  factory: Factory<Value>,
  options: ReadOptions<Value> = {},
): Promise<{ value: Value; staleness: string }> {
  const { check, applied } = node.parts
  const consistency = options.consistency ?? new Consistency(check, applied)
  const value = await cache.getOrCreate(key, factory, { ...options, consistency })
  return { value, staleness: consistency.stale?.staleness ?? 'none' }
}

/** The cache has nothing fresh under the key; what L2 has for fail-safe is in memory then. */
export async function untilExpired(cache: HybridCache, key: string): Promise<void> {
  await until(`"${key}" is past its time`, async () => (await cache.get(key)) === undefined)
}

/** L2 holds the key as fresh for this node. Writes to L2 are not waited for by those who make them. */
export async function untilInL2(cache: HybridCache, key: string): Promise<void> {
  const entry = { skipL1Read: true, skipL1Write: true }
  await until(`"${key}" is in L2`, async () => (await cache.get(key, { entry })) !== undefined)
}

/** How many entries a node has asked L2 for. */
export function l2Reads({ parts }: Node): number {
  const { shared } = parts.dependencies
  return shared instanceof RedisTier ? shared.statistics.hits + shared.statistics.misses : 0
}

/** The numbered messages of the outbox after a position. */
export async function messagesAfter(database: FreshDatabase, position: number): Promise<JournalMessage[]> {
  const rows = await query<Omit<JournalMessage, 'position'> & { position: string }>(
    database,
    `select position, numbering_id as "numberingId", type, payload
     from aftercommit_kernel.outbox_message where position > $1 order by position`,
    [position],
  )
  return rows.map((row) => ({ ...row, position: Number(row.position) }))
}

/** Takes what has a position after this one out of the database, as the restore of a backup would. */
export async function setBack(database: FreshDatabase, position: number): Promise<void> {
  await withClient(database.url, async (client) => {
    await client.query('begin')
    await setBackIn(client, position)
    await client.query('commit')
  })
}
