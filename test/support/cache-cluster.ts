import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe } from '@jest/globals'
import type { CacheSettings } from '../../src/kernel/cache/caches.js'
import type { HybridCache } from '../../src/kernel/cache/hybrid-cache.js'
import { domainEvent, z } from '../../src/kernel/domain/index.js'
import { on } from '../../src/kernel/journal/invalidation-rules.js'
import type { Node } from '../../src/node.js'
import { isThorough } from './depth.js'
import { createFreshDatabase, type FreshDatabase } from './fresh-database.js'
import { startTestNode } from './test-node.js'
import { until } from './until.js'

/** Somebody changed what the caches of a test hold: a committed write, as they see it. */
export class ThingChanged extends domainEvent(
  'thing.changed',
  z.object({ keys: z.array(z.string()).optional(), tags: z.array(z.string()).optional() }),
) {}

export type TiersInUse = 'L1 only' | 'L2 only' | 'L1 and L2'

/** Whole nodes in this process, over a real Postgres and a real Redis, with caches of the test's own. */
export interface CacheCluster {
  readonly tiers: TiersInUse
  readonly nodes: readonly Node[]
  readonly database: FreshDatabase
  /** The same new, empty cache on every node; `settings` are its defaults. */
  newCache<Value = unknown>(settings?: CacheSettings): readonly HybridCache<Value>[]
  /** Commits a write on one node (the first, if not told otherwise), and has all nodes apply it. */
  change(stale: { keys?: string[]; tags?: string[] }, by?: Node): Promise<void>
  /** Every node has applied whatever was committed before the call. */
  inStep(): Promise<void>
}

export async function startCacheCluster(
  tiers: TiersInUse,
  nodeCount: number,
  env: Readonly<Record<string, string>> = {},
): Promise<CacheCluster & { stop(): Promise<void> }> {
  const database = await createFreshDatabase()
  const redis = tiers !== 'L1 only'
  const nodes: Node[] = []
  for (let index = 0; index < nodeCount; index++) nodes.push(await startTestNode(database, { redis, env }))
  if (redis) {
    for (const { parts } of nodes) await until('Redis is connected', () => parts.redis?.status === 'ready')
  }
  const inStep = async (): Promise<void> => {
    await Promise.all(nodes.map(({ parts }) => parts.check.run()))
  }
  return {
    tiers,
    nodes,
    database,
    newCache: <Value>(settings: CacheSettings = {}) => {
      const name = `test-${randomUUID()}`
      return nodes.map((node) =>
        node.parts.caches.add<Value, string>({
          name,
          invalidatedBy: [on(ThingChanged, (stale) => withoutUndefined(stale))],
          ...(tiers === 'L2 only' && { skipL1Read: true, skipL1Write: true }),
          ...settings,
        }),
      )
    },
    change: async (stale, by = nodes[0]) => {
      await by?.parts.outbox.write([new ThingChanged(stale)])
      await inStep()
    },
    inStep,
    stop: async () => {
      for (const node of nodes) await node.stop()
      await database.drop()
    },
  }
}

function withoutUndefined({
  keys = [],
  tags = [],
}: {
  keys?: string[] | undefined
  tags?: string[] | undefined
}) {
  return { keys, tags }
}

/** One node without Redis, and what most services run. */
const usual = ['L1 only, 1', 'L1 and L2, 3']

/** Runs the same guarantees over memory alone, Redis alone and both, on one node and on three. */
export function overEveryTopology(
  title: string,
  guarantees: (cluster: () => CacheCluster, topology: { tiers: TiersInUse; nodeCount: number }) => void,
): void {
  for (const tiers of ['L1 only', 'L2 only', 'L1 and L2'] as const) {
    for (const nodeCount of [1, 3]) {
      if (!isThorough && !usual.includes(`${tiers}, ${nodeCount}`)) continue
      describe(`${title} (${tiers}, ${nodeCount === 1 ? 'one node' : `${nodeCount} nodes`})`, () => {
        let cluster: (CacheCluster & { stop(): Promise<void> }) | undefined
        beforeAll(async () => {
          cluster = await startCacheCluster(tiers, nodeCount)
        })
        afterAll(() => cluster?.stop())
        guarantees(
          () => {
            if (!cluster) throw new Error('The cluster did not start')
            return cluster
          },
          { tiers, nodeCount },
        )
      })
    }
  }
}
