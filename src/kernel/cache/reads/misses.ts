import { LoadTimeoutError } from '../cache-errors.js'
import type { CacheDependencies, Read } from '../cache-options.js'
import type { CacheStatistics } from '../cache-statistics.js'
import type { Tiers } from '../entries/tiers.js'
import type { Answers } from './answers.js'
import type { FailSafe } from './fail-safe.js'
import { outerLoad } from './load-scope.js'
import type { LoadWaiters } from './loader.js'
import { waitFor } from './patience.js'
import { type Call, type CallPlan, type ReadResult, type SingleFlight, Waiter } from './single-flight.js'

/** Where a value comes from that memory does not hold. */
export interface Route {
  /** From L2, or else the database. */
  run(read: Read, call: Call): Promise<ReadResult>
  /** From the database alone: without a lease nobody can judge what L2 holds, or because the load must not wait for another. */
  bypass(read: Read, waiters: LoadWaiters): Promise<ReadResult>
}

/** The way of a read that memory cannot answer: lease, call, L2, load, and what is done when these take long or fail. */
export class Misses {
  constructor(
    private readonly cache: string,
    private readonly dependencies: CacheDependencies,
    private readonly singleFlight: SingleFlight,
    private readonly tiers: Tiers,
    private readonly failSafe: FailSafe,
    private readonly answers: Answers,
    private readonly statistics: CacheStatistics,
  ) {}

  /** @throws as `HybridCache.getOrCreate` */
  async answer(read: Read, route: Route): Promise<unknown> {
    const { key, options } = read
    if (options.signal?.aborted) {
      this.statistics.failedReads++
      throw options.signal.reason
    }
    const outer = outerLoad()
    const waiter = new Waiter(outer)
    let result = this.failSafe.whileThrottled(read)
    try {
      result ??= await this.#patiently(this.#startOrJoin(read, route, waiter), read, waiter)
    } catch (error) {
      // The failure depends on what the load has read, as its value would.
      if (outer && waiter.load) outer.add(waiter.load.names)
      result = this.failSafe.afterFailure(read, error)
      if (!result) {
        this.statistics.failedReads++
        throw error
      }
    } finally {
      waiter.leave()
    }
    return this.answers.of(key, result, options)
  }

  #startOrJoin(read: Read, route: Route, waiter: Waiter): Promise<ReadResult> {
    if (this.dependencies.lease.holds()) return this.#join(read, route, waiter)
    return this.#renewLeaseAndJoin(read, route, waiter)
  }

  #patiently(result: Promise<ReadResult>, read: Read, waiter: Waiter): Promise<ReadResult> {
    const { key, entry, options } = read
    const hardMs = entry.hardTimeoutMs
    const softMs = entry.softTimeoutMs
    const { signal } = options
    if (softMs === Number.POSITIVE_INFINITY && hardMs === Number.POSITIVE_INFINITY && !signal) return result
    const instead = () => this.failSafe.afterTimeout(read)
    const tooLate = () => {
      waiter.timeOut(hardMs)
      return new LoadTimeoutError(this.cache, key, hardMs)
    }
    return waitFor(result, { softMs, hardMs, signal, instead, tooLate }, this.dependencies.clock)
  }

  async #renewLeaseAndJoin(read: Read, route: Route, waiter: Waiter): Promise<ReadResult> {
    const { key, entry } = read
    await this.dependencies.renewLease()
    if (this.dependencies.lease.holds())
      return this.tiers.inMemory(key, entry) ?? this.#join(read, route, waiter)
    this.statistics.bypasses++
    return route.bypass(read, this.singleFlight.startAlone(key, entry.backgroundCompletion, waiter))
  }

  #join(read: Read, route: Route, waiter: Waiter): Promise<ReadResult> {
    const plan: CallPlan = {
      run: (call) => route.run(read, call),
      // Counted as a miss: it was not this read that had to bypass the cache.
      runAlone: async (call) => ({ ...(await route.bypass(read, call)), source: 'miss' }),
      goesOnAlone: read.entry.backgroundCompletion,
      patienceMs: read.entry.hardTimeoutMs,
    }
    return this.singleFlight.join(read.key, read.options.consistency?.requiredPosition ?? 0, plan, waiter)
  }
}
