import type { Clock } from '../clock.js'
import type { Faults } from '../faults.js'
import type { AppliedJournal, Stamp } from '../journal/applied-journal.js'
import type { ClusterClock } from '../journal/cluster-clock.js'
import type { Consistency } from '../journal/consistency.js'
import type { Lease } from '../journal/lease.js'
import type { CacheEvents } from './cache-events.js'
import type { InvalidationWriter } from './cache-invalidated.js'
import type { MemoryBudget } from './entries/memory-budget.js'
import type { EntryOptions, Given } from './entry-options.js'
import type { Factory } from './load-context.js'
import type { SharedTier } from './shared/shared-tier.js'

/** What one cache may hold in memory. */
export interface MemoryLimits {
  /** Entries in memory; the ones that nobody asks for go first. */
  readonly maxEntries: number
  /** Bytes of all values in memory, by an estimate. Default: no limit. */
  readonly maxBytes?: number | undefined
  /** Bytes of one value, by the same estimate; a larger one goes to L2 only. Default: no limit. */
  readonly maxEntryBytes?: number | undefined
}

/**
 * The largest limits. A `Map` in V8 holds at most 16 million entries, and deleted ones count until the table is rebuilt. Above
 * half of that, evicting one entry and adding another can exceed it. A key longer than `maxKeyLength` would not fit into a
 * hint.
 */
const most = { maxEntries: 8_000_000, maxKeyLength: 65_536 }

/** @throws RangeError naming the limit that is none */
export function checkedLimits<Limits extends Pick<HybridCacheOptions, keyof MemoryLimits | 'maxKeyLength'>>(
  limits: Limits,
): Limits {
  for (const name of ['maxEntries', 'maxBytes', 'maxEntryBytes', 'maxKeyLength'] as const) {
    const { [name]: limit } = limits
    if (limit === undefined) continue
    if (!(Number.isInteger(limit) && limit >= 1)) {
      throw new RangeError(`${name} is a whole number of at least 1, not ${String(limit)}`)
    }
    const atMost = name in most ? most[name as keyof typeof most] : limit
    if (limit > atMost) throw new RangeError(`${name} is at most ${atMost}, not ${limit}`)
  }
  return limits
}

export interface HybridCacheOptions extends MemoryLimits {
  /** Unique among the caches of the service; without a colon. It is the prefix of its keys in Redis. */
  readonly name: string
  /** Changes when the meaning of an entry changes, so that two releases never read each other's. */
  readonly declaration: string
  /** What holds for every entry that does not say otherwise. */
  readonly entry: EntryOptions
  /** Whether `null` and `undefined` are kept: right only where an event tells that the thing now exists. */
  readonly cacheAbsent: boolean
  /** Characters of a key; values of longer ones are loaded each time. */
  readonly maxKeyLength: number
}

/** What all caches of a node share. */
export interface CacheDependencies {
  readonly applied: AppliedJournal
  readonly lease: Lease
  /**
   * Resolves once a check that began after the call has ended, or has taken too long.
   *
   * @throws what Postgres throws if it cannot be reached
   */
  readonly renewLease: () => Promise<void>
  readonly shared: SharedTier
  readonly outbox: InvalidationWriter
  readonly faults: Faults
  readonly clock: Clock
  readonly clusterClock: ClusterClock
  readonly events: CacheEvents
  /** The memory that all caches of the node share. Default: no limit. */
  readonly memory?: MemoryBudget | undefined
}

export interface ReadOptions<Value> {
  /** The request that asks; its token is honoured, and told what was answered. */
  readonly consistency?: Consistency | undefined
  readonly tags?: readonly string[] | undefined
  /** Tags that follow from the value; added to `tags`. */
  readonly tagsOf?: ((value: Value) => readonly string[]) | undefined
  /** When it aborts, this caller gives up, with the signal's reason; whoever else waits is not disturbed. */
  readonly signal?: AbortSignal | undefined
  /** In place of the cache's defaults. */
  readonly entry?: Given<EntryOptions> | undefined
}

export interface SetOptions {
  /** Taken by `capture` before the value was read. */
  readonly stamp?: Stamp | undefined
  readonly tags?: readonly string[] | undefined
  readonly entry?: Given<EntryOptions> | undefined
}

/** One read on its way, with its options settled. */
export interface Read<Value = unknown> {
  readonly key: string
  readonly factory: Factory<Value>
  readonly options: ReadOptions<Value>
  readonly entry: EntryOptions
}
