import type { CacheEvents } from '../cache-events.js'
import type { MemoryLimits } from '../cache-options.js'
import { CacheEntry } from './cache-entry.js'
import { MemoryBudget, type MemoryHolder } from './memory-budget.js'

/** How many entries an eviction passes over at most, in a row: it must not keep the event loop. */
const longestWalk = 64

/**
 * Estimated bytes of an entry without its value: a promise with about twenty fields, its place in the `Map`, and its slots.
 * The key and the names are added as strings.
 */
const bytesOfEntry = 256
const bytesOfString = 16
const bytesOfCharacter = 2

/**
 * L1: the entries of one cache in this node's memory. Where there is no room, what nobody has asked for goes, the
 * oldest first: a hand walks over the entries from the oldest to the newest and over again, evicts whatever was not asked
 * for since it last came by, and stays where it was. So a hit moves nothing, and writes to its own entry alone; and what
 * was asked for once, by a job that reads everything, goes before what is asked for again and again. (SIEVE: Zhang et
 * al., NSDI '24.)
 */
export class MemoryTier implements MemoryHolder {
  evictions = 0
  #bytes = 0
  #heldBytes = 0
  /** In the order in which they came; a value that takes another's place takes its place in that order, too. */
  readonly #entries = new Map<string, CacheEntry>()
  #hand: MapIterator<[string, CacheEntry]> | undefined

  constructor(
    private readonly cache: string,
    private readonly limits: MemoryLimits,
    private readonly events: CacheEvents,
    /** The memory that it shares with the other caches of the node. */
    private readonly budget = new MemoryBudget(),
  ) {
    budget.join(this)
  }

  get size(): number {
    return this.#entries.size
  }

  /** Estimated bytes of all values. */
  get bytes(): number {
    return this.#bytes
  }

  /** `bytes` plus those of keys, names and the entries themselves. */
  get heldBytes(): number {
    return this.#heldBytes
  }

  get(key: string): CacheEntry | undefined {
    const entry = this.#entries.get(key)
    // Looked at before it is written to: what is only read need not be written back.
    if (entry !== undefined && !CacheEntry.wasHit(entry)) CacheEntry.markHit(entry, true)
    return entry
  }

  /** Like `get`, but does not protect the entry from eviction. */
  peek(key: string): CacheEntry | undefined {
    return this.#entries.get(key)
  }

  /**
   * Keeps an entry, and replaces the present one of its key.
   *
   * @returns false if the value is too large for memory
   */
  keep(key: string, entry: CacheEntry): boolean {
    if (!this.fits(key, entry)) {
      // The present entry is older than the value that was to replace it.
      this.delete(key)
      return false
    }
    this.#makeRoom(key, entry)
    const replaced = this.#entries.get(key)
    CacheEntry.markHit(entry, replaced ? CacheEntry.wasHit(replaced) : false)
    this.#count(key, replaced, entry)
    this.#entries.set(key, entry)
    return true
  }

  /** Whether memory could hold this entry, if it were the only one. */
  fits(key: string, entry: CacheEntry): boolean {
    const { maxEntryBytes = Number.POSITIVE_INFINITY, maxBytes = Number.POSITIVE_INFINITY } = this.limits
    return entry.bytes <= Math.min(maxEntryBytes, maxBytes) && footprint(key, entry) <= this.budget.maxBytes
  }

  delete(key: string): void {
    this.#count(key, this.#entries.get(key), undefined)
    this.#entries.delete(key)
  }

  clear(): void {
    this.#entries.clear()
    this.budget.count(-this.#heldBytes)
    this.#bytes = 0
    this.#heldBytes = 0
    // It would keep all of them.
    this.#hand = undefined
  }

  giveUpOne(): void {
    this.#evict('total-bytes')
  }

  /** Before the entry is there, as it would be the first to go: nobody has asked for it yet. */
  #makeRoom(key: string, entry: CacheEntry): void {
    const { maxEntries, maxBytes = Number.POSITIVE_INFINITY } = this.limits
    const needed = footprint(key, entry)
    for (;;) {
      const replaced = this.#entries.get(key)
      if (replaced === undefined && this.#entries.size >= maxEntries) this.#evict('entries')
      else if (this.#bytes - (replaced?.bytes ?? 0) + entry.bytes > maxBytes) this.#evict('bytes')
      else if (!this.budget.hasRoomFor(needed - (replaced ? footprint(key, replaced) : 0)))
        this.budget.giveUpOne()
      else return
    }
  }

  #evict(reason: 'entries' | 'bytes' | 'total-bytes'): void {
    for (let passed = 0; ; passed++) {
      const [key, entry] = this.#next()
      if (!CacheEntry.wasHit(entry) || passed === longestWalk) {
        this.delete(key)
        this.evictions++
        const { cache, events } = this
        if (events.wants('evicted')) events.emit('evicted', { cache, key, reason })
        return
      }
      CacheEntry.markHit(entry, false)
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

  #count(key: string, removed: CacheEntry | undefined, added: CacheEntry | undefined): void {
    this.#bytes += (added?.bytes ?? 0) - (removed?.bytes ?? 0)
    const held = (added ? footprint(key, added) : 0) - (removed ? footprint(key, removed) : 0)
    this.#heldBytes += held
    this.budget.count(held)
  }
}

/** Estimated bytes of a whole entry in memory, right to within a factor of two. */
function footprint(key: string, { bytes, names }: CacheEntry): number {
  let sum = bytesOfEntry + bytes + bytesOfString + key.length * bytesOfCharacter
  for (const name of names) sum += bytesOfString + name.length * bytesOfCharacter
  return sum
}
