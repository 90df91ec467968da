import type { AppliedJournal } from '../../journal/applied-journal.js'
import { dependencyOn } from '../../journal/invalidation-rules.js'
import type { MemoryTier } from './memory-tier.js'

/**
 * Frees the memory of removed entries. Correctness does not depend on it, because a removed value is never answered again, not
 * even by fail-safe. But whoever clears a cache expects the memory back. A removed key is looked up. When this cache, or every
 * cache, is cleared, all entries go at once. An entry that another node loaded after the removal goes with them; it can be
 * copied from L2 again. Entries that carry a removed tag stay, because finding them would mean searching all entries.
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

  /** Must be called after the removal of these names is applied. */
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
