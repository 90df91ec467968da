import type { Stamp } from '../journal/applied-journal.js'
import type { LastingOptions } from './entry-options.js'

/**
 * A cached value with what its freshness is judged by, as one node holds it. Times are monotonic ms of this node.
 * Only `refreshAt`, `usedAt`, `failure`, `life` and `answer` ever change: they say what this node is about to do, not what the value
 * is.
 *
 * There are millions of them. V8 keeps a whole number below 2^31 in the field itself, and any other in 16 bytes beside
 * it; times that may be rounded, to the safe side, are whole.
 */
export interface CacheEntry {
  /** What is kept of the value: itself, frozen, or what copies are made from. Callers are given `givenOf` it. */
  readonly kept: unknown
  /** Where the load of the value began. A copy keeps it: the copy is as old as what it was copied from. */
  readonly stamp: Stamp
  /** What the value depends on beside its own key and cache: its tags, and the cached reads inside its load. */
  readonly names: readonly string[]
  /** The slots of its key, its cache and its names in the table of last invalidations. */
  readonly slots: readonly number[]
  /** When this node came by the value, or up to 1 ms later. */
  readonly obtainedAt: number
  /** The end of its time in memory. */
  readonly freshUntil: number
  /** The end of its time as a fail-safe value. */
  readonly usableUntil: number
  /** From when on a hit starts an eager refresh. `never`, also while one is under way. */
  refreshAt: number
  /** When it was last taken to the end of the order in which entries are evicted, as memory counts. */
  usedAt: number
  /** The last load in its place that failed, or took too long. */
  failure: LoadFailure | undefined
  /** The answer to a hit, once there was one: for what all callers may share, they share the promise as well. */
  answer: Promise<unknown> | undefined
  /** Whether it can be protected from those who are given it; if not, it is given to those who wait and forgotten. */
  readonly keepable: boolean
  readonly bytes: number
  readonly etag?: string | undefined
  readonly lastModified?: string | undefined
  /** Milliseconds between the begin of its time in memory and the end, had the copy been made when it was loaded. */
  readonly wholeMs: number
  /** For L2, where it has yet to be written; forgotten then. */
  life: Life | undefined
  /** What its load has decided, on whatever node, for each copy of it. */
  readonly lasting?: LastingOptions | undefined
}

export interface LoadFailure {
  /** Until then a stale value is answered without another attempt to load. */
  readonly retryAt: number
  /** The position at which the load was tried. What happens to the value later is worth another attempt at once. */
  readonly triedAt: number
}

/** For a `refreshAt` that does not come. Whole, as times in memory are; to be compared by equality. */
export const never = 2 ** 31 - 1

/** The same value's life in the cluster, in ms of its clock: what is written to L2. */
export interface Life {
  readonly loadedAt: number
  readonly freshUntil: number
  readonly usableUntil: number
  readonly l1TtlMs: number
}
