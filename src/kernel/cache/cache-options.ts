import type { Clock } from '../clock.js'
import type { Faults } from '../faults.js'
import type { AppliedJournal } from '../journal/applied-journal.js'
import type { Consistency } from '../journal/consistency.js'
import type { Lease } from '../journal/lease.js'
import type { InvalidationWriter } from './cache-invalidated.js'
import type { SharedTier } from './shared-tier.js'

export interface HybridCacheOptions {
  /** Unique among the caches of the service; without a colon. */
  readonly name: string
  /** Changes when the meaning of an entry changes, so that two releases never read each other's. */
  readonly declaration: string
  /** Milliseconds that an entry may be served from memory. */
  readonly l1TtlMs: number
  /** Milliseconds that an entry stays in Redis. */
  readonly l2TtlMs: number
  /** Entries in memory; the least recently used go first. */
  readonly maxEntries: number
  /** Whether `null` and `undefined` are kept: right only where an event tells that the thing now exists. */
  readonly cacheAbsent: boolean
}

/** What all caches of a node share. */
export interface CacheSurroundings {
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
}

export interface LoadContext {
  /** Adds tags that are known only once the value is. */
  tag(...tags: string[]): void
}

export type Factory<Value> = (context: LoadContext) => Promise<Value>

export interface ReadOptions<Value> {
  readonly consistency?: Consistency | undefined
  readonly tags?: readonly string[]
  /** Tags that follow from the value; added to `tags`. */
  readonly tagsOf?: (value: Value) => readonly string[]
}
