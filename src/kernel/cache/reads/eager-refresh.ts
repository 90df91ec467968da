import type { Clock } from '../../clock.js'
import type { Read } from '../cache-options.js'
import type { CacheStatistics } from '../cache-statistics.js'
import { CacheEntry, never } from '../entries/cache-entry.js'
import type { MemoryTier } from '../entries/memory-tier.js'
import type { Tiers } from '../entries/tiers.js'
import type { EntryOptions } from '../entry-options.js'
import type { ClusterSingleFlight } from './cluster-single-flight.js'
import { type Call, type ReadResult, type SingleFlight, Waiter } from './single-flight.js'
import type { SingleLoads } from './single-loads.js'

/** Loads the keys of one call together. */
interface Refreshing {
  refresh(read: Read, waiters: Call): Promise<ReadResult>
}

/** Milliseconds until a node looks again whether another one has refreshed what it serves. */
const lookAgainMs = 100

/**
 * Renews a value before its time is over, while hits go on being answered by what there is. The load is a call
 * like any other, stamped and compared, so that an invalidation in its middle keeps its value out.
 */
export class EagerRefresh {
  constructor(
    private readonly singleFlight: SingleFlight,
    private readonly tiers: Tiers,
    private readonly cluster: ClusterSingleFlight,
    private readonly loads: SingleLoads,
    private readonly memory: MemoryTier,
    private readonly statistics: CacheStatistics,
    private readonly clock: Clock,
  ) {}

  /** Not waited for; at most one at a time for each entry. */
  begin(read: Read, entry: CacheEntry): void {
    CacheEntry.refreshFrom(entry, never)
    this.#refresh(read, entry).catch(() => {
      // Reported by the load itself. Hits until the next attempt cost nothing.
      this.#lookAgain(read.key, entry, read.entry.failSafeThrottleMs)
    })
  }

  /**
   * Like `begin`, for several hits of one call, with one read of L2 and one call of the factory. It takes no lock in Redis, like
   * every load of several keys.
   */
  beginMany(hits: readonly (readonly [Read, CacheEntry])[], batch: Refreshing): void {
    const [first] = hits
    if (!first) return
    for (const [, entry] of hits) CacheEntry.refreshFrom(entry, never)
    const [{ entry: options }] = first
    this.#refreshMany(hits, batch, options).catch(() => {
      for (const [{ key }, entry] of hits) this.#lookAgain(key, entry, options.failSafeThrottleMs)
    })
  }

  async #refreshMany(
    hits: readonly (readonly [Read, CacheEntry])[],
    batch: Refreshing,
    options: EntryOptions,
  ): Promise<void> {
    const keys = hits.map(([{ key }]) => key)
    const copies = await this.tiers.copyManyFromShared(keys, options)
    const refreshing: Promise<ReadResult>[] = []
    for (const [index, [read, entry]] of hits.entries()) {
      if (this.#isYoung(copies[index], options)) continue
      if (this.singleFlight.isUnderWay(read.key)) this.#lookAgain(read.key, entry, lookAgainMs)
      else refreshing.push(this.#run(read, (call) => batch.refresh(read, call)))
    }
    await Promise.all(refreshing)
  }

  #run(read: Read, run: (call: Call) => Promise<ReadResult>): Promise<ReadResult> {
    this.statistics.eagerRefreshes++
    const plan = { run, runAlone: run, goesOnAlone: true, patienceMs: read.entry.hardTimeoutMs }
    const waiter = new Waiter()
    const result = this.singleFlight.join(read.key, 0, plan, waiter)
    // The caller does not wait, so a failure is reported as a background failure.
    waiter.leave()
    return result
  }

  async #refresh(read: Read, entry: CacheEntry): Promise<void> {
    const { key, entry: options } = read
    if (await this.#someoneElseHas(read)) return
    const lock = this.cluster.applies(key, options) ? await this.cluster.lock(key, options) : undefined
    if (lock?.held === false) {
      this.#lookAgain(key, entry, lookAgainMs)
      return
    }
    let loaded = false
    try {
      if (lock?.loadedMeanwhile) {
        loaded = await this.#someoneElseHas(read)
        if (loaded) return
      }
      if (this.singleFlight.isUnderWay(key)) {
        this.#lookAgain(key, entry, lookAgainMs)
        return
      }
      await this.#run(read, (call) => this.loads.load(read, call, true))
      loaded = true
    } finally {
      if (lock?.held) lock.release(loaded)
    }
  }

  /** A look into L2 may have put a copy of the same value in the entry's place. */
  #lookAgain(key: string, entry: CacheEntry, inMs: number): void {
    const present = this.memory.get(key) ?? entry
    CacheEntry.refreshFrom(present, Math.ceil(this.clock.now() + inMs))
  }

  /** Whether L2 holds a value young enough; it is in memory then. A long life in L2 is not cut to that in memory. */
  async #someoneElseHas({ key, entry: options }: Read): Promise<boolean> {
    return this.#isYoung(await this.tiers.copyFromShared(key, options), options)
  }

  #isYoung(copy: ReadResult | undefined, { eagerRefreshThreshold }: EntryOptions): boolean {
    if (!copy) return false
    const { freshUntil, obtainedAt, wholeMs, lasting } = copy.entry
    const threshold = lasting?.eagerRefreshThreshold ?? eagerRefreshThreshold
    return freshUntil - obtainedAt > wholeMs * (1 - threshold)
  }
}
