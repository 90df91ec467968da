import { DomainError } from '../../domain/domain-error.js'
import { CyclicLoadError, LoadTimeoutError } from '../cache-errors.js'
import type { Staleness } from '../cache-events.js'
import type { CacheDependencies, Read } from '../cache-options.js'
import type { CacheStatistics } from '../cache-statistics.js'
import { CacheEntry } from '../entries/cache-entry.js'
import type { MemoryTier } from '../entries/memory-tier.js'
import { outerLoad } from './load-scope.js'
import type { ReadResult } from './single-flight.js'

/**
 * Answers a value past its time, marked as stale, where a load has failed or takes too long. What it answers
 * keeps the stamp of its own load, so that it stays stale until a load succeeds.
 */
export class FailSafe {
  constructor(
    private readonly cache: string,
    private readonly dependencies: CacheDependencies,
    private readonly memory: MemoryTier,
    private readonly statistics: CacheStatistics,
  ) {}

  /** What to answer without another attempt, as the last one has failed a short while ago. */
  whileThrottled(read: Read): ReadResult | undefined {
    const entry = this.memory.get(read.key)
    const failure = entry && CacheEntry.failure(entry)
    if (!failure || !mayAnswer(read, entry)) return undefined
    if (this.dependencies.clock.now() >= failure.at + read.entry.failSafeThrottleMs) return undefined
    // The load took too long for another caller. One who waits for longer may still get the value.
    if (patienceOf(read) > failure.waitedMs) return undefined
    // Another value may have been set since, which a load need not be tried for: L2 has it.
    const { invalidations } = this.dependencies.applied
    return invalidations.lastOf(entry.slots) <= failure.triedAt ? this.#answer(read, 'throttled') : undefined
  }

  afterFailure(read: Read, error: unknown): ReadResult | undefined {
    // "There is no such thing" is an answer of the domain's, not a failure to get one. A cycle is a mistake in the program, which
    // an old value would hide. A caller who gave up wants no answer.
    if (error instanceof DomainError || error instanceof CyclicLoadError) return undefined
    if (read.options.signal?.aborted) return undefined
    const isOwnTimeout =
      error instanceof LoadTimeoutError && error.cache === this.cache && error.key === read.key
    return this.#answer(read, 'failed', isOwnTimeout ? error.timeoutMs : Number.POSITIVE_INFINITY)
  }

  afterTimeout(read: Read): ReadResult | undefined {
    return this.#answer(read, 'timeout', patienceOf(read))
  }

  /** @param waitedMs how long the caller waited for the load; `Infinity` if it failed, undefined if none was tried */
  #answer(read: Read, cause: 'failed' | 'timeout' | 'throttled', waitedMs?: number): ReadResult | undefined {
    const { key } = read
    const { clock, events } = this.dependencies
    const entry = this.memory.get(key)
    const now = clock.now()
    if (!entry || !mayAnswer(read, entry) || now >= entry.usableUntil) return undefined
    const staleness = this.#stalenessOf(read, entry)
    if (!staleness) return undefined
    if (waitedMs !== undefined) {
      CacheEntry.hasFailed(entry, { at: now, triedAt: this.dependencies.applied.position, waitedMs })
    }
    this.statistics.staleServed++
    if (events.wants('staleServed')) events.emit('staleServed', { cache: this.cache, key, staleness, cause })
    return { entry, source: 'l1', staleness }
  }

  /** @returns undefined if it may not be answered */
  #stalenessOf(
    { entry: { allowInvalidated }, options: { consistency } }: Read,
    { stamp, slots }: ReadResult['entry'],
  ): Staleness | undefined {
    const { applied, lease } = this.dependencies
    const standing = applied.standingOf(stamp, slots)
    if (standing === 'removed') return undefined
    if (standing === 'invalidated' && !allowInvalidated) return undefined
    // Marked or not, a client that has seen a write must not be shown what was before it. An `expire` also says that the value may
    // have changed. Its tags may have changed with it, so nobody can tell which later events concern it.
    const required = Math.max(consistency?.requiredPosition ?? 0, outerLoad()?.requiredPosition ?? 0)
    if (standing !== 'fresh' && stamp.position < required) return undefined
    if (standing === 'invalidated') return standing
    return lease.holds() ? 'expired' : 'unverified'
  }
}

/** Milliseconds that a caller waits for a load before a stale value is answered instead. */
function patienceOf({ entry: { softTimeoutMs, hardTimeoutMs } }: Read): number {
  return Math.min(softTimeoutMs, hardTimeoutMs)
}

/**
 * The call's own option comes first, because only the caller knows what to do with a stale value. Then comes what the value's
 * load has decided, and then the default of the cache.
 */
function mayAnswer({ entry, options }: Read, { lasting }: CacheEntry): boolean {
  return options.entry?.failSafe ?? lasting?.failSafe ?? entry.failSafe
}
