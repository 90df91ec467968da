import { randomUUID } from 'node:crypto'
import type { CacheSettings } from '../../src/kernel/cache/caches.js'
import type { HybridCache } from '../../src/kernel/cache/hybrid-cache.js'
import { on } from '../../src/kernel/journal/invalidation-rules.js'
import type { Node } from '../../src/node.js'
import { ChaosHints, ChaosJournal, ChaosTier, Trouble } from '../kit/chaos.js'
import { type CacheCluster, ThingChanged } from './cache-cluster.js'
import { createFreshDatabase } from './fresh-database.js'
import { ManualClock } from './manual-clock.js'
import { startTestNode } from './test-node.js'
import { until } from './until.js'

/** What can be made to go wrong on one node. */
export interface NodeTrouble {
  readonly l2: Trouble
  /** Counts the delays of L2, which last until the test lets this clock run. */
  readonly l2Clock: ManualClock
  /** How many calls of L2 are being delayed. */
  l2Pending(): number
  readonly hints: Trouble
  readonly checks: Trouble
}

export interface TroubledCluster extends CacheCluster {
  /** In the order of the nodes. */
  readonly troubles: readonly NodeTrouble[]
  calm(): void
  stop(): Promise<void>
}

/** Three nodes in this process over a real Postgres and a real Redis, each with trouble of its own before them. */
export async function startTroubledCluster(
  env: Readonly<Record<string, string>> = {},
): Promise<TroubledCluster> {
  const database = await createFreshDatabase()
  const nodes: Node[] = []
  const troubles: NodeTrouble[] = []
  for (let index = 0; index < 3; index++) {
    const l2Clock = new ManualClock()
    const l2 = new Trouble({ clock: l2Clock })
    const hints = new Trouble()
    const checks = new Trouble()
    let tier: ChaosTier | undefined
    const wrappers = {
      shared: (shared: ConstructorParameters<typeof ChaosTier>[0]) => {
        tier = new ChaosTier(shared, l2)
        return tier
      },
      hints: (channel: ConstructorParameters<typeof ChaosHints>[0]) => new ChaosHints(channel, hints),
      journal: (journal: ConstructorParameters<typeof ChaosJournal>[0]) => new ChaosJournal(journal, checks),
    }
    nodes.push(await startTestNode(database, { env, wrappers }))
    troubles.push({ l2, l2Clock, l2Pending: () => tier?.pending ?? 0, hints, checks })
  }
  for (const { parts } of nodes) await until('Redis is connected', () => parts.redis?.status === 'ready')
  const inStep = async (): Promise<void> => {
    await Promise.all(nodes.map(({ parts }) => parts.check.run()))
  }
  const calm = (): void => {
    for (const { l2, hints, checks } of troubles) for (const trouble of [l2, hints, checks]) trouble.calm()
  }
  return {
    tiers: 'L1 and L2',
    nodes,
    troubles,
    database,
    newCache: <Value>(settings: CacheSettings = {}): readonly HybridCache<Value>[] => {
      const name = `test-${randomUUID()}`
      const invalidatedBy = [on(ThingChanged, ({ keys = [], tags = [] }) => ({ keys, tags }))]
      return nodes.map(({ parts }) => parts.caches.add<Value, string>({ name, invalidatedBy, ...settings }))
    },
    change: async (stale, by = nodes[0]) => {
      await by?.parts.outbox.write([new ThingChanged(stale)])
      await inStep()
    },
    inStep,
    calm,
    stop: async () => {
      calm()
      for (const node of nodes) await node.stop()
      await database.drop()
    },
  }
}
