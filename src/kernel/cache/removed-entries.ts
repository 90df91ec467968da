import type { AppliedJournal } from '../journal/applied-journal.js'
import { dependencyOn } from '../journal/invalidation-rules.js'
import type { MemoryTier } from './memory-tier.js'

/**
 * Frees the memory of what was removed. Nothing relies on it, as what was removed is never answered again, not even by
 * fail-safe; but whoever clears a cache expects the memory back. A key is looked up. Where a cache was cleared, or all of
 * them, all entries go at once: what a node holds began before what it has applied. What carries a tag is not looked for: to
 * remove one would take time by the number of all entries.
 */
export class RemovedEntries {
  readonly #keyPrefix: string
  readonly #cacheName: string

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
    if (names === 'all' || names.includes(this.#cacheName)) this.memory.clear()
    else for (const name of names) this.#dropNamed(name)
  }

  #dropNamed(name: string): void {
    if (!name.startsWith(this.#keyPrefix)) return
    const key = name.slice(this.#keyPrefix.length)
    const entry = this.memory.peek(key)
    if (entry && this.applied.standingOf(entry.stamp, entry.slots) === 'removed') this.memory.delete(key)
  }
}
