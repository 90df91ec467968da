import type { Stamp } from '../journal/applied-journal.js'

/** A cached value with what its freshness is judged by. Never changed once it is made, nor is its value. */
export interface CacheEntry<Value = unknown> {
  readonly value: Value
  /** Where the load of the value began. A copy keeps it: the copy is as old as what it was copied from. */
  readonly stamp: Stamp
  /** Everything that the value depends on: its own key and cache, its tags, and those of cached reads inside its load. */
  readonly names: readonly string[]
  /** The names' slots in the table of last invalidations. */
  readonly slots: readonly number[]
  /** Monotonic ms at which this node came by the value. */
  readonly obtainedAt: number
}
