import type { CacheEvents } from '../cache-events.js'
import type { CacheStatistics } from '../cache-statistics.js'
import { protect } from '../values/mutation-safety.js'

/** One log line for this many values of a cache that are not kept: for the first of them. */
const valuesALine = 1_000

/** Reports values that are answered but not kept, because a part of them is not data. Every read of such a value loads. */
export class UnkeptValues {
  #count = 0

  constructor(
    private readonly cache: string,
    private readonly events: CacheEvents,
    private readonly statistics: CacheStatistics,
  ) {}

  report(key: string, value: unknown): void {
    const { cache, events } = this
    this.statistics.unkept++
    const isLogged = this.#count++ % valuesALine === 0
    const isWanted = events.wants('notStored')
    if (!isLogged && !isWanted) return
    // The value is examined again, because an entry does not keep the reason. It is needed only here.
    const { trouble = '' } = protect(value, false)
    if (isWanted)
      events.emit('notStored', { cache, key, tier: 'l1', reason: 'not-cloneable', detail: trouble })
    if (!isLogged) return
    events.logger.warn(
      { cache, unkept: this.#count },
      `${cache}: a value is not cached, because ${trouble}. Return plain data instead.`,
    )
  }
}
