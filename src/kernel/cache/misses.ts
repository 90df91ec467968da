import type { Clock } from '../clock.js'
import type { Answers } from './answers.js'
import { LoadTimeoutError } from './cache-errors.js'
import type { CacheSurroundings, Read } from './cache-options.js'
import type { CacheStatistics } from './cache-statistics.js'
import type { ClusterFlight } from './cluster-flight.js'
import type { FailSafe } from './fail-safe.js'
import { type Flight, type FlightPlan, type Flights, type Landing, Seat } from './flights.js'
import { outerLoad } from './load-scope.js'
import type { Loader, LoadWaiters } from './loader.js'
import { waitFor } from './patience.js'
import type { Tiers } from './tiers.js'

/** Where a value comes from that memory does not hold. */
export interface Route {
  /** From L2, or else the database. */
  fly(read: Read, flight: Flight): Promise<Landing>
  /** From the database alone: without a lease nobody can judge what L2 holds, or because the load must not wait for another. */
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
    const seat = new Seat(outer)
    let landing = this.failSafe.whileThrottled(read)
    try {
      landing ??= await this.#patiently(this.#setOff(read, route, seat), read, seat)
    } catch (error) {
      // The failure depends on what the load has read, as its value would.
      if (outer && seat.load) outer.add(seat.load.names)
      landing = this.failSafe.afterFailure(read, error)
      if (!landing) {
        this.statistics.failedReads++
        throw error
      }
    } finally {
      seat.leave()
    }
    return this.answers.of(key, landing, options)
  }

  #setOff(read: Read, route: Route, seat: Seat): Promise<Landing> {
    if (this.around.lease.holds()) return this.#board(read, route, seat)
    return this.#renewLeaseAndBoard(read, route, seat)
  }

  #patiently(landing: Promise<Landing>, read: Read, seat: Seat): Promise<Landing> {
    const { key, entry, options } = read
    const hardMs = entry.hardTimeoutMs
    const softMs = entry.softTimeoutMs
    const { signal } = options
    if (softMs === Number.POSITIVE_INFINITY && hardMs === Number.POSITIVE_INFINITY && !signal) return landing
    const instead = () => this.failSafe.afterTimeout(read)
    const tooLate = () => {
      seat.timeOut(hardMs)
      return new LoadTimeoutError(this.cache, key, hardMs)
    }
    return waitFor(landing, { softMs, hardMs, signal, instead, tooLate }, this.around.clock)
  }

  async #renewLeaseAndBoard(read: Read, route: Route, seat: Seat): Promise<Landing> {
    const { key, entry } = read
    await this.around.renewLease()
    if (this.around.lease.holds()) return this.tiers.inMemory(key, entry) ?? this.#board(read, route, seat)
    this.statistics.bypasses++
    return route.bypass(read, this.flights.boardAlone(key, entry.backgroundCompletion, seat))
  }

  #board(read: Read, route: Route, seat: Seat): Promise<Landing> {
    const plan: FlightPlan = {
      fly: (flight) => route.fly(read, flight),
      // Counted as a miss: it was not this read that had to bypass the cache.
      flyAlone: async (flight) => ({ ...(await route.bypass(read, flight)), source: 'miss' }),
      goesOnAlone: read.entry.backgroundCompletion,
      patienceMs: read.entry.hardTimeoutMs,
    }
    return this.flights.board(read.key, read.options.consistency?.requiredPosition ?? 0, plan, seat)
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

  fly(read: Read, flight: Flight): Promise<Landing> {
    const askedAt = this.clock.now()
    const copied = this.tiers.copyFromShared(read.key, read.entry)
    return copied.then((copy) => copy ?? this.#loadOnce(read, flight, askedAt))
  }

  #loadOnce(read: Read, flight: Flight, askedAt: number): Promise<Landing> {
    const { key, entry } = read
    const load = () => this.load(read, flight)
    return this.cluster.applies(key, entry) ? this.cluster.fetch(key, entry, load, askedAt, flight) : load()
  }

  async bypass(read: Read, waiters: LoadWaiters): Promise<Landing> {
    return { ...(await this.load(read, waiters)), source: 'bypass' }
  }

  async load(read: Read, waiters: LoadWaiters, eager = false): Promise<Landing> {
    const { entry, options, storable, staleness } = await this.loader.load(read, waiters, eager)
    if (storable) await this.tiers.storeLoaded([[read.key, entry, options]])
    else if (!staleness) this.tiers.overtaken(read.key, entry)
    return { entry, source: 'miss', staleness }
  }
}
