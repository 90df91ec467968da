import { CacheEvents } from '../../src/kernel/cache/cache-events.js'
import type { InvalidationWriter } from '../../src/kernel/cache/cache-invalidated.js'
import { declareCacheInvalidated } from '../../src/kernel/cache/cache-invalidated.js'
import type { CacheDependencies, HybridCacheOptions } from '../../src/kernel/cache/cache-options.js'
import { defaultEntryOptions, type EntryOptions } from '../../src/kernel/cache/entry-options.js'
import { HybridCache } from '../../src/kernel/cache/hybrid-cache.js'
import type { SharedTier } from '../../src/kernel/cache/shared/shared-tier.js'
import { noSharedTier } from '../../src/kernel/cache/shared/shared-tier.js'
import { type DomainEvent, domainEvent, nameOf, z } from '../../src/kernel/domain/index.js'
import { Faults } from '../../src/kernel/faults.js'
import { AppliedJournal } from '../../src/kernel/journal/applied-journal.js'
import { ClusterClock } from '../../src/kernel/journal/cluster-clock.js'
import { Consistency, type Tier } from '../../src/kernel/journal/consistency.js'
import type { ConsistencyToken } from '../../src/kernel/journal/consistency-token.js'
import { InvalidationRules, namesOf } from '../../src/kernel/journal/invalidation-rules.js'
import { LastInvalidations } from '../../src/kernel/journal/last-invalidations.js'
import { Lease } from '../../src/kernel/journal/lease.js'
import { StalenessCheck } from '../../src/kernel/journal/staleness-check.js'
import { InMemoryJournal } from './in-memory-journal.js'
import { ManualClock } from './manual-clock.js'
import { silentLogger } from './silent-logger.js'

/** An event that says itself what it makes stale. */
export class Happened extends domainEvent(
  'test.happened',
  z.object({ keys: z.array(z.string()).optional(), tags: z.array(z.string()).optional() }),
) {}

export const maxStalenessMs = 2_000
export const cacheName = 'Thing'

export interface Simulation {
  readonly journal?: InMemoryJournal
  readonly clock?: ManualClock
  readonly shared?: SharedTier
  readonly replayAtStart?: number
  readonly slots?: number
  readonly cache?: Partial<Omit<HybridCacheOptions, 'entry'>>
  readonly entry?: Partial<EntryOptions>
  /** Whether a read without a lease may renew it by a check. */
  readonly renews?: boolean
}

/** The freshness protocol of one node, without servers and on a clock of the test's. */
export class SimulatedNode {
  readonly journal: InMemoryJournal
  readonly clock: ManualClock
  readonly rules = new InvalidationRules()
  readonly applied: AppliedJournal
  readonly lease: Lease
  readonly check: StalenessCheck
  readonly cache: HybridCache
  readonly dependencies: CacheDependencies
  readonly events = new CacheEvents(silentLogger)
  readonly written: DomainEvent[] = []

  constructor({
    journal = new InMemoryJournal(),
    clock = new ManualClock(),
    shared = noSharedTier,
    replayAtStart = 1_000,
    slots = 65_536,
    cache = {},
    entry = {},
    renews = false,
  }: Simulation = {}) {
    this.journal = journal
    this.clock = clock
    // The clock of the cluster is the database's own; here, that of the node which was there first.
    if (journal.now() === 0) journal.now = () => clock.wall()
    const clusterClock = new ClusterClock(clock)
    declareCacheInvalidated(this.rules)
    this.rules.add(Happened, ({ keys = [], tags = [] }) => ({
      kind: 'supersede',
      names: namesOf(cacheName, keys, tags),
    }))
    this.applied = new AppliedJournal(new LastInvalidations(slots), this.rules, silentLogger)
    this.lease = new Lease(clock, maxStalenessMs)
    this.check = new StalenessCheck(
      journal,
      this.applied,
      this.lease,
      () => journal.number(2_000),
      clock,
      silentLogger,
      { intervalMs: 400, replayAtStart },
      clusterClock,
    )
    const outbox: InvalidationWriter = {
      write: async (events) => {
        this.written.push(...events)
        for (const event of events) journal.commit(nameOf(event), event.payload)
        await this.check.run()
      },
    }
    this.dependencies = {
      applied: this.applied,
      lease: this.lease,
      renewLease: async () => {
        if (renews) await this.check.run()
      },
      shared,
      outbox,
      faults: new Faults(),
      clock,
      clusterClock,
      events: this.events,
    }
    this.cache = new HybridCache(
      {
        name: cacheName,
        declaration: 'd1',
        maxEntries: 1_000,
        cacheAbsent: false,
        maxKeyLength: 1_024,
        entry: { ...defaultEntryOptions, clusterSingleFlight: false, ...entry },
        ...cache,
      },
      this.dependencies,
    )
  }

  /** A request of a client. */
  request(required?: ConsistencyToken, onlyTier?: Tier): Consistency {
    return new Consistency(this.check, this.applied, required, onlyTier)
  }

  /** Commits an event somewhere, and has this node apply it. */
  async apply(stale: { keys?: string[]; tags?: string[] }): Promise<void> {
    this.journal.commit('test.happened', stale)
    this.clock.advance(1)
    await this.check.run()
  }
}

export async function startSimulatedNode(simulation: Simulation = {}): Promise<SimulatedNode> {
  const node = new SimulatedNode(simulation)
  await node.check.run()
  return node
}
