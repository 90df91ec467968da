import type { CacheEvents } from './cache-events.js'
import type { CacheStatistics } from './cache-statistics.js'
import { protect } from './mutation-safety.js'

/** Of so many values of one cache that are not kept, the first is logged. */
const valuesALine = 1_000

/** Tells of values that were answered and are kept nowhere, as they hold what is no data: each read of them loads. */
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
    // Looked for once more, as the way to it is only of interest here.
    const { trouble = '' } = protect(value, false)
    if (isWanted)
      events.emit('notStored', { cache, key, tier: 'l1', reason: 'not-cloneable', detail: trouble })
    if (!isLogged) return
    events.logger.warn(
      { cache, unkept: this.#count },
      `${cache}: a value is not cached, as ${trouble}: return plain data, or what can be made of it again`,
    )
  }
}
