import type { AppliedJournal } from '../journal/applied-journal.js'
import { dependencyOn } from '../journal/invalidation-rules.js'
import type { MemoryTier } from './memory-tier.js'

/** Entries that are looked at in one turn of the event loop. */
const entriesATurn = 1_000

/**
 * Frees the memory of what was removed. Nothing relies on it, as what was removed is never answered again, not even by
 * fail-safe; but whoever clears a cache expects the memory back. A key is looked up. Where a cache was cleared, or all of
 * them, the entries are gone through, some in each turn of the event loop. What carries a tag is not looked for: to remove
 * one would take time by the number of all entries.
 */
export class RemovedEntries {
  readonly #keyPrefix: string
  readonly #cacheName: string
  #walk: MapIterator<string> | undefined
  #again = false

  constructor(
    cache: string,
    private readonly applied: AppliedJournal,
    private readonly memory: MemoryTier,
  ) {
    this.#keyPrefix = dependencyOn.key(cache, '')
    this.#cacheName = dependencyOn.cache(cache)
  }

  /** To be called once the removal of these names is applied. */
  drop(names: readonly string[] | 'all'): void {
    if (this.memory.size === 0) return
    if (names === 'all' || names.includes(this.#cacheName)) this.#goThrough()
    else for (const name of names) this.#dropNamed(name)
  }

  #dropNamed(name: string): void {
    if (name.startsWith(this.#keyPrefix)) this.#dropIfRemoved(name.slice(this.#keyPrefix.length))
  }

  #goThrough(): void {
    // What is added from now on is newer, but what was passed already may have been removed only now.
    if (this.#walk) this.#again = true
    else {
      this.#walk = this.memory.keys()
      this.#goOn(this.#walk)
    }
  }

  #goOn(walk: MapIterator<string>): void {
    for (let count = 0; count < entriesATurn; count++) {
      const { done, value } = walk.next()
      if (done) {
        this.#walk = undefined
        if (this.#again) {
          this.#again = false
          this.#goThrough()
        }
        return
      }
      this.#dropIfRemoved(value)
    }
    // It must not keep a process alive that has nothing else to do.
    setImmediate(() => this.#goOn(walk)).unref()
  }

  #dropIfRemoved(key: string): void {
    const entry = this.memory.peek(key)
    if (entry && this.applied.standingOf(entry.stamp, entry.slots) === 'removed') this.memory.delete(key)
  }
}
