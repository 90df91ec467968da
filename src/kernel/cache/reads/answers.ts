import type { Consistency, StaleAnswer, Staleness } from '../../journal/consistency.js'
import type { CacheDependencies, ReadOptions } from '../cache-options.js'
import type { CacheStatistics } from '../cache-statistics.js'
import type { CacheEntry } from '../entries/cache-entry.js'
import type { Entries } from '../entries/entries.js'
import { givenOf } from '../values/mutation-safety.js'
import { outerLoad } from './load-scope.js'
import type { ReadResult } from './single-flight.js'

/** What an answer has to know of who asks. */
export type Asking = Pick<ReadOptions<never>, 'consistency' | 'entry'>

/** What a read is answered; and who is told of it: its request, the load around it, statistics and events. */
export class Answers {
  constructor(
    private readonly cache: string,
    private readonly dependencies: CacheDependencies,
    private readonly entries: Entries,
    private readonly statistics: CacheStatistics,
  ) {}

  /**
   * Records that a key was asked for; outside a load this does nothing. The result of the load depends on the key whatever
   * the answer is: if there is no value, or none in time, the result must not outlive the event that brings one.
   */
  asked(key: string, tags: readonly string[] | undefined): void {
    outerLoad()?.add(this.entries.ownNames(key, tags))
  }

  of(key: string, result: ReadResult, options: Asking): unknown {
    const { consistency, entry: chosen } = options
    const { entry, source, staleness } = result
    if (source === 'l1' && !staleness) return this.ofHit(key, entry, options)
    this.#count(key, result)
    consistency?.answered(source, entry.obtainedAt, staleness && this.#stale(entry, staleness))
    const outer = outerLoad()
    outer?.add(this.entries.namesOf(key, entry))
    if (staleness) outer?.sawStale(staleness)
    return givenOf(entry.kept, chosen?.clone)
  }

  /** A fresh hit in memory. */
  ofHit(key: string, entry: CacheEntry, { consistency, entry: chosen }: Asking): unknown {
    this.noteHit(key, entry, consistency)
    outerLoad()?.add(this.entries.namesOf(key, entry))
    return givenOf(entry.kept, chosen?.clone)
  }

  /** All that there is to do for a hit that is part of no load. */
  noteHit(key: string, { obtainedAt }: CacheEntry, consistency: Consistency | undefined): void {
    this.statistics.l1Hits++
    const { events } = this.dependencies
    if (events.wants('hit')) events.emit('hit', { cache: this.cache, key, tier: 'l1' })
    consistency?.answered('l1', obtainedAt)
  }

  #stale({ freshUntil }: CacheEntry, staleness: Staleness): StaleAnswer {
    return { staleness, overdueMs: Math.max(0, this.dependencies.clock.now() - freshUntil) }
  }

  #count(key: string, { source, staleness }: ReadResult): void {
    const { events } = this.dependencies
    // Bypasses and fail-safe answers are counted where they are decided.
    if (source === 'bypass' || (staleness && source === 'l1')) return
    if (staleness) this.statistics.madeOfStale++
    else if (source === 'l2') {
      this.statistics.l2Hits++
      if (events.wants('hit')) events.emit('hit', { cache: this.cache, key, tier: 'l2' })
    } else {
      this.statistics.misses++
      if (events.wants('miss')) events.emit('miss', { cache: this.cache, key })
    }
  }
}
