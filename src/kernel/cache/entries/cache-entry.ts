import type { Stamp } from '../../journal/applied-journal.js'
import type { LastingOptions } from '../entry-options.js'
import { isShareable } from '../values/mutation-safety.js'

/**
 * A cached value with what its freshness is judged by, as one node holds it. Times are monotonic ms of this node, except for
 * `loadedAt`. The fields that change are private. They say what this node is about to do with the value, not what the value
 * is. If they were public, a caller who freezes the promise of a hit, as part of something larger, would make every later
 * write to them throw, even in the read of another key that evicts this entry. Static methods access them, because a shared
 * entry has lost its prototype (see `share`), and with it its methods.
 *
 * An entry is itself the promise that a hit is answered with, one for all callers where they may share the value. Of many
 * keys, each object on the way is a line of the processor's cache that is not there: with entry and promise apart, hits
 * of 100,000 keys took a third longer. So no promise can be resolved with an entry, as that would come to the value: who has
 * one to pass on puts it into a `ReadResult`, and the compiler says so to those who forget.
 *
 * There are millions of them. V8 keeps a whole number below 2^31 in the field itself, and any other in 16 bytes beside
 * it; times that may be rounded, to the safe side, are whole.
 */
export class CacheEntry extends Promise<unknown> {
  // First what a hit looks at, right behind what `await` does.
  /** Where the load of the value began. A copy keeps it: the copy is as old as what it was copied from. */
  readonly stamp: Stamp
  /** The end of its time in memory. */
  readonly freshUntil: number
  #refreshAt: number
  #wasHit = false
  #isShared = false
  /** What is kept of the value: itself, frozen, or what copies are made from. Callers are given `givenOf` it. */
  readonly kept: unknown
  /** The slots of its key, its cache and its names in the table of last invalidations. */
  readonly slots: readonly number[]
  /** When this node came by the value, or up to 1 ms later. */
  readonly obtainedAt: number
  /** Whether all of the value is data. If not, it is given to the callers that wait for it, unchanged, and not kept. */
  readonly keepable: boolean
  /** What the value depends on beside its own key and cache: its tags, and the cached reads inside its load. */
  readonly names: readonly string[]
  /** The end of its time as a fail-safe value. */
  readonly usableUntil: number
  #failure: LoadFailure | undefined
  /** Whole, so that sums of them come back to 0. */
  readonly bytes: number
  readonly etag: string | undefined
  readonly lastModified: string | undefined
  /** When its load ended: whole ms of the cluster's clock, counted from the start of this process. A copy keeps it. */
  readonly loadedAt: number
  /** Milliseconds between the begin of its time in memory and the end, had the copy been made when it was loaded. */
  readonly wholeMs: number
  #life: Life | undefined
  /** What its load has decided, on whatever node, for each copy of it. */
  readonly lasting: LastingOptions | undefined

  static {
    // What is made by `then` is no entry: it asks for the constructor. With `Symbol.species` for that, as is usual, each entry
    // would take 0.4 µs more to make.
    Object.defineProperty(CacheEntry.prototype, 'constructor', { value: Promise })
  }

  constructor(parts: EntryParts) {
    super((resolve) => resolve(parts.kept))
    this.stamp = parts.stamp
    this.freshUntil = parts.freshUntil
    this.#refreshAt = parts.refreshAt
    this.kept = parts.kept
    this.slots = parts.slots
    this.obtainedAt = parts.obtainedAt
    this.keepable = parts.keepable
    this.names = parts.names
    this.usableUntil = parts.usableUntil
    this.bytes = parts.bytes
    this.etag = parts.etag
    this.lastModified = parts.lastModified
    this.loadedAt = parts.loadedAt
    this.wholeMs = parts.wholeMs
    this.lasting = parts.lasting
  }

  /** Whether a hit at `now` (monotonic ms) starts an eager refresh. */
  static isDue(entry: CacheEntry, now: number): boolean {
    return entry.#refreshAt !== never && entry.#refreshAt <= now
  }

  /** @param at monotonic ms; `never` to start no refresh, for instance because one is under way */
  static refreshFrom(entry: CacheEntry, at: number): void {
    entry.#refreshAt = at
  }

  /** Whether the entry was read since the eviction hand last passed it. */
  static wasHit(entry: CacheEntry): boolean {
    return entry.#wasHit
  }

  static markHit(entry: CacheEntry, wasHit: boolean): void {
    entry.#wasHit = wasHit
  }

  /** Whether hits return the entry itself. They do from the second hit on, if all callers may be given the same value. */
  static isShared(entry: CacheEntry): boolean {
    return entry.#isShared
  }

  /**
   * Makes hits return the entry itself, if all callers may be given the same value. `await` recognises a plain promise by its
   * prototype and waits for it directly. For any other it first looks up the constructor, and hits of one key take 1.2 times
   * as long. Changing the prototype takes 1 µs, so an entry that is read only once keeps its own.
   */
  static share(entry: CacheEntry): void {
    if (entry.#isShared || !isShareable(entry.kept)) return
    Object.setPrototypeOf(entry, Promise.prototype)
    entry.#isShared = true
  }

  /** The last load that should have replaced this entry, and failed or took too long. */
  static failure(entry: CacheEntry): LoadFailure | undefined {
    return entry.#failure
  }

  static hasFailed(entry: CacheEntry, failure: LoadFailure): void {
    entry.#failure = failure
  }

  /** Remembers the life to write to L2. */
  static live(entry: CacheEntry, life: Life): void {
    entry.#life = life
  }

  /** Returns the life to write to L2 and forgets it, so that it is written once. */
  static takeLife(entry: CacheEntry): Life | undefined {
    const life = entry.#life
    entry.#life = undefined
    return life
  }
}

/** What an entry is made from. */
export type EntryParts = Omit<CacheEntry, keyof Promise<unknown>> & { readonly refreshAt: number }

export interface LoadFailure {
  /** Monotonic ms. For each caller's `failSafeThrottleMs` after it, a stale value is answered without another attempt. */
  readonly at: number
  /** Milliseconds that a caller waited for it; `Infinity` if it failed. A caller who would wait longer tries again. */
  readonly waitedMs: number
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
  /** Whether JSON is known to bring the value back as it is. */
  readonly isJson?: boolean
}
