import type { Clock } from '../clock.js'
import { LoadTimeoutError } from './cache-errors.js'
import type { CacheSurroundings, Read } from './cache-options.js'
import type { CacheStatistics } from './cache-statistics.js'
import type { ClusterFlight } from './cluster-flight.js'
import type { FailSafe } from './fail-safe.js'
import type { FlightPlan, Flights, Landing, Passage } from './flights.js'
import type { Loader, LoadWaiters } from './loader.js'
import { waitFor } from './patience.js'
import type { Tiers } from './tiers.js'

/** Where a value comes from that memory does not hold. */
export interface Route {
  /** From L2, or else the database. */
  fly(read: Read, waiters: LoadWaiters): Promise<Landing>
  /** From the database alone: without a lease, nobody can judge what L2 holds. */
  bypass(read: Read, waiters: LoadWaiters): Promise<Landing>
}

/** The way of a read that memory cannot answer: lease, flight, L2, load, and what is done when these take long or fail. */
export class Misses {
  constructor(
    private readonly cache: string,
    private readonly around: CacheSurroundings,
    private readonly flights: Flights,
    private readonly tiers: Tiers,
    private readonly failSafe: FailSafe,
    private readonly statistics: CacheStatistics,
  ) {}

  /** @throws as `HybridCache.getOrCreate` */
  async fetch(read: Read, route: Route): Promise<Landing> {
    const { key, entry, options } = read
    options.signal?.throwIfAborted()
    const throttled = this.failSafe.whileThrottled(read)
    if (throttled) return throttled
    const passage = this.#setOff(read, route)
    try {
      return await waitFor(
        passage.landing,
        {
          // Without anything to answer instead, a soft timeout has nothing to say.
          softMs: entry.failSafe ? entry.softTimeoutMs : Number.POSITIVE_INFINITY,
          hardMs: entry.hardTimeoutMs,
          signal: options.signal,
          instead: () => this.failSafe.afterTimeout(read),
          tooLate: () => new LoadTimeoutError(this.cache, key, entry.hardTimeoutMs),
        },
        this.around.clock,
      )
    } catch (error) {
      const fallback = this.failSafe.afterFailure(read, error)
      if (!fallback) throw error
      return fallback
    } finally {
      passage.leave()
    }
  }

  #setOff(read: Read, route: Route): Passage {
    const { lease } = this.around
    if (lease.holds()) return this.#board(read, route)
    let left = false
    let passage: Passage | undefined
    const alone = new AbortController()
    const leave = (): void => {
      left = true
      passage?.leave()
      if (!read.entry.backgroundCompletion) alone.abort()
    }
    const travel = async (): Promise<Landing> => {
      await this.around.renewLease()
      if (!lease.holds()) {
        this.statistics.bypasses++
        return route.bypass(read, { signal: alone.signal, awaited: true })
      }
      const hit = this.tiers.inMemory(read.key, read.entry)
      if (hit) return hit
      passage = this.#board(read, route)
      if (left) passage.leave()
      return passage.landing
    }
    return { landing: travel(), leave }
  }

  #board(read: Read, route: Route): Passage {
    const plan: FlightPlan = {
      fly: (flight) => route.fly(read, flight),
      goesOnAlone: read.entry.backgroundCompletion,
      joinableMs: read.entry.hardTimeoutMs,
    }
    return this.flights.board(read.key, read.options.consistency?.requiredPosition ?? 0, plan)
  }
}

/** One key at a time. */
export class SingleLoads implements Route {
  constructor(
    private readonly tiers: Tiers,
    private readonly cluster: ClusterFlight,
    private readonly loader: Loader,
    private readonly clock: Clock,
  ) {}

  async fly(read: Read, waiters: LoadWaiters): Promise<Landing> {
    const askedAt = this.clock.now()
    const copy = await this.tiers.copyFromShared(read.key, read.entry)
    if (copy) return copy
    const load = () => this.load(read, waiters)
    return this.cluster.applies(read.key, read.entry)
      ? this.cluster.fetch(read.key, read.entry, load, askedAt)
      : load()
  }

  async bypass(read: Read, waiters: LoadWaiters): Promise<Landing> {
    return { ...(await this.load(read, waiters)), source: 'bypass' }
  }

  async load(read: Read, waiters: LoadWaiters, eager = false): Promise<Landing> {
    const { entry, options, storable, staleness } = await this.loader.load(read, waiters, eager)
    if (storable) await this.tiers.storeLoaded([[read.key, entry, options]])
    return { entry, source: 'miss', staleness }
  }
}
