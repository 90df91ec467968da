import { DomainError } from '../domain/domain-error.js'
import { CyclicLoadError } from './cache-errors.js'
import type { Staleness } from './cache-events.js'
import type { CacheSurroundings, Read } from './cache-options.js'
import type { CacheStatistics } from './cache-statistics.js'
import type { Landing } from './flights.js'
import { outerLoad } from './load-scope.js'
import type { MemoryTier } from './memory-tier.js'

/**
 * Answers a value past its time, marked as stale, where a load has failed or takes too long. What it answers
 * keeps the stamp of its own load, so that it stays stale until a load succeeds.
 */
export class FailSafe {
  constructor(
    private readonly cache: string,
    private readonly around: CacheSurroundings,
    private readonly memory: MemoryTier,
    private readonly statistics: CacheStatistics,
  ) {}

  /** What to answer without another attempt, as the last one has failed a short while ago. */
  whileThrottled(read: Read): Landing | undefined {
    if (!read.entry.failSafe) return undefined
    const entry = this.memory.get(read.key)
    if (!entry?.failure || this.around.clock.now() >= entry.failure.retryAt) return undefined
    // Another value may have been set since, which a load need not be tried for: L2 has it.
    const { invalidations } = this.around.applied
    return invalidations.lastOf(entry.slots) <= entry.failure.triedAt
      ? this.#answer(read, 'throttled')
      : undefined
  }

  afterFailure(read: Read, error: unknown): Landing | undefined {
    // "There is no such thing" is an answer of the domain's, not a failure to get one; and who gave up wants none. A
    // cycle is a mistake in the program, which an old value would hide.
    if (error instanceof DomainError || error instanceof CyclicLoadError) return undefined
    if (read.options.signal?.aborted) return undefined
    return this.#answer(read, 'failed')
  }

  afterTimeout(read: Read): Landing | undefined {
    return this.#answer(read, 'timeout')
  }

  #answer(read: Read, cause: 'failed' | 'timeout' | 'throttled'): Landing | undefined {
    const { key, entry: options } = read
    const { clock, events } = this.around
    if (!options.failSafe) return undefined
    const entry = this.memory.get(key)
    const now = clock.now()
    if (!entry || now >= entry.usableUntil) return undefined
    const staleness = this.#stalenessOf(read, entry)
    if (!staleness) return undefined
    if (cause !== 'throttled') {
      const retryAt = now + options.failSafeThrottleMs
      entry.failure = { retryAt, triedAt: this.around.applied.position }
    }
    this.statistics.staleServed++
    if (events.wants('staleServed')) events.emit('staleServed', { cache: this.cache, key, staleness, cause })
    return { entry, source: 'l1', staleness }
  }

  /** @returns undefined if it may not be answered */
  #stalenessOf(
    { entry: { allowInvalidated }, options: { consistency } }: Read,
    { stamp, slots }: Landing['entry'],
  ): Staleness | undefined {
    const { applied, lease } = this.around
    switch (applied.standingOf(stamp, slots)) {
      case 'removed':
        return undefined
      case 'invalidated':
        if (!allowInvalidated) return undefined
        // Marked or not, a client that has seen the write must not be shown what was before it.
        return stamp.position <
          Math.max(consistency?.requiredPosition ?? 0, outerLoad()?.requiredPosition ?? 0)
          ? undefined
          : 'invalidated'
      default:
        return lease.holds() ? 'expired' : 'unverified'
    }
  }
}
