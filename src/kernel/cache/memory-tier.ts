import type { CacheEntry } from './cache-entry.js'
import type { CacheEvents } from './cache-events.js'
import type { MemoryLimits } from './cache-options.js'

/** How many entries an eviction passes over at most, in a row: it must not keep the event loop. */
const longestWalk = 64

/**
 * L1: the entries of one cache in this node's memory. Where there is no room, what nobody has asked for goes, the
 * oldest first: a hand walks over the entries from the oldest to the newest and over again, evicts whatever was not asked
 * for since it last came by, and stays where it was. So a hit moves nothing, and writes to its own entry alone; and what
 * was asked for once, by a job that reads everything, goes before what is asked for again and again. (SIEVE: Zhang et
 * al., NSDI '24.)
 */
export class MemoryTier {
  evictions = 0
  #bytes = 0
  /** In the order in which they came; a value that takes another's place takes its place in that order, too. */
  readonly #entries = new Map<string, CacheEntry>()
  #hand: MapIterator<[string, CacheEntry]> | undefined
  readonly #measured: boolean

  constructor(
    private readonly cache: string,
    private readonly limits: MemoryLimits,
    private readonly events: CacheEvents,
  ) {
    this.#measured = limits.maxBytes !== undefined
  }

  /** Whether the bytes of entries matter here. */
  get measured(): boolean {
    return this.#measured || this.limits.maxEntryBytes !== undefined
  }

  get size(): number {
    return this.#entries.size
  }

  /** Estimated bytes of all values; 0 where no limit has them measured. */
  get bytes(): number {
    return this.#bytes
  }

  get(key: string): CacheEntry | undefined {
    const entry = this.#entries.get(key)
    // Looked at before it is written to: what is only read need not be written back.
    if (entry !== undefined && !entry.wasHit) entry.wasHit = true
    return entry
  }

  /**
   * Keeps an entry in place of what there is.
   *
   * @returns false if the value is too large for memory
   */
  keep(key: string, entry: CacheEntry): boolean {
    const { maxEntryBytes = Number.POSITIVE_INFINITY, maxBytes = Number.POSITIVE_INFINITY } = this.limits
    if (entry.bytes > Math.min(maxEntryBytes, maxBytes)) {
      // What it was to replace is older.
      this.delete(key)
      return false
    }
    this.#makeRoom(key, entry)
    const replaced = this.#entries.get(key)
    entry.wasHit = replaced?.wasHit ?? false
    this.#count(replaced, entry)
    this.#entries.set(key, entry)
    return true
  }

  delete(key: string): void {
    this.#count(this.#entries.get(key), undefined)
    this.#entries.delete(key)
  }

  clear(): void {
    this.#entries.clear()
    this.#bytes = 0
    // It would keep all of them.
    this.#hand = undefined
  }

  /** Before the entry is there, as it would be the first to go: nobody has asked for it yet. */
  #makeRoom(key: string, entry: CacheEntry): void {
    const { maxEntries, maxBytes = Number.POSITIVE_INFINITY } = this.limits
    while (this.#entries.size > 0) {
      const replaced = this.#entries.get(key)
      const tooMany = replaced === undefined && this.#entries.size >= maxEntries
      if (!tooMany && this.#bytes - (replaced?.bytes ?? 0) + entry.bytes <= maxBytes) return
      this.#evict(tooMany ? 'entries' : 'bytes')
    }
  }

  #evict(reason: 'entries' | 'bytes'): void {
    for (let passed = 0; ; passed++) {
      const [key, entry] = this.#next()
      if (!entry.wasHit || passed === longestWalk) {
        this.delete(key)
        this.evictions++
        const { cache, events } = this
        if (events.wants('evicted')) events.emit('evicted', { cache, key, reason })
        return
      }
      entry.wasHit = false
    }
  }

  /** Where the hand comes to. Not to be asked while there are no entries. */
  #next(): [string, CacheEntry] {
    for (;;) {
      // Goes on over what is added, removed or moved to a larger table meanwhile, by what a `Map` promises.
      this.#hand ??= this.#entries.entries()
      const { done, value } = this.#hand.next()
      if (!done) return value
      this.#hand = undefined
    }
  }

  #count(removed: CacheEntry | undefined, added: CacheEntry | undefined): void {
    if (this.#measured) this.#bytes += (added?.bytes ?? 0) - (removed?.bytes ?? 0)
  }
}
