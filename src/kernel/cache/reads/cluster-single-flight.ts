import type { CacheDependencies } from '../cache-options.js'
import type { Entries } from '../entries/entries.js'
import type { Tiers } from '../entries/tiers.js'
import type { EntryOptions } from '../entry-options.js'
import { type LoadLock, lockOfNobody } from '../shared/shared-tier.js'
import type { Call, ReadResult } from './single-flight.js'

/**
 * Milliseconds between two looks of a waiting node: a sixteenth of its wait so far, so that a short load is not waited
 * for much longer than it takes, and a long one is not looked for all the time.
 */
const shortestPauseMs = 1
const longestPauseMs = 8

/**
 * One node of the cluster loads a key, the others wait for what it stores. A lock in Redis saves loads and decides
 * nothing: what a waiting node finds is compared like any other copy, and it waits for a bounded time only, so
 * that a holder that died, or whose load hangs, costs one such wait.
 */
export class ClusterSingleFlight {
  constructor(
    private readonly dependencies: CacheDependencies,
    private readonly entries: Entries,
    private readonly tiers: Tiers,
  ) {}

  /** Whether another node could wait for what this one loads, or the other way round. */
  applies(key: string, options: EntryOptions): boolean {
    return (
      options.clusterSingleFlight && !options.skipL2Read && !options.skipL2Write && !this.tiers.refusalOf(key)
    )
  }

  /**
   * To be called after a miss in L2.
   *
   * @param askedAt monotonic ms when L2 was asked: the lock gets what is left of L2's time, as who waited for it
   *   afresh would wait for a hung Redis twice
   * @param call knows by when the load must begin, so that its value comes in time for every caller
   */
  async fetch(
    key: string,
    options: EntryOptions,
    load: () => Promise<ReadResult>,
    askedAt: number,
    call: Pick<Call, 'loadBy' | 'isAbandoned'>,
  ): Promise<ReadResult> {
    const { clock } = this.dependencies
    const waitsFrom = clock.now()
    const patienceMs = this.tiers.patienceMs(key, options)
    // Computed each time, because a caller who joins meanwhile may wait for a shorter time.
    const leftMs = (): number => Math.min(waitsFrom + options.clusterWaitMs, call.loadBy) - clock.now()
    let lock = await this.#lockInTime(key, options, Math.min(askedAt + patienceMs - waitsFrom, leftMs()))
    // Another node may have loaded between this one's miss and its lock.
    let copy =
      lock.held && lock.loadedMeanwhile ? await this.tiers.copyFromShared(key, options, leftMs()) : undefined
    while (!lock.held && !copy && !call.isAbandoned && leftMs() > 0) {
      const pauseMs = Math.round((clock.now() - waitsFrom) / 16)
      await clock.sleep(Math.min(Math.max(pauseMs, shortestPauseMs), longestPauseMs))
      const atMostMs = Math.min(patienceMs, leftMs())
      // The lock first: a holder stores before it lets go, so whoever finds it free sees what was stored.
      ;[lock, copy] = await Promise.all([
        this.#lockInTime(key, options, atMostMs),
        this.tiers.copyFromShared(key, options, atMostMs),
      ])
    }
    return this.#settle(lock, copy, load)
  }

  lock(key: string, options: EntryOptions): Promise<LoadLock> {
    const { applied, shared } = this.dependencies
    // As for joining a call: a load that began before the key's last invalidation would bring the past.
    const required = applied.invalidations.lastOf(this.entries.ownSlots(key))
    return shared.lock(
      this.tiers.sharedKey(key),
      applied.position,
      required,
      // On this node nobody joins a load that is older than its caller's time. Nodes elsewhere need not wait for it, either.
      Math.max(1, Math.min(options.clusterWaitMs, options.hardTimeoutMs)),
    )
  }

  /** A lock that does not come in time counts as held, and one that comes later is not kept from others. */
  async #lockInTime(key: string, options: EntryOptions, atMostMs: number): Promise<LoadLock> {
    if (atMostMs <= 0) return lockOfNobody
    const taking = this.lock(key, options)
    const lock = await this.tiers.inTime(taking, atMostMs)
    if (lock) return lock
    void taking.then((late) => late.held && late.release(late.loadedMeanwhile))
    return lockOfNobody
  }

  async #settle(
    lock: LoadLock,
    copy: ReadResult | undefined,
    load: () => Promise<ReadResult>,
  ): Promise<ReadResult> {
    // Whoever has missed in L2 a moment ago, and asks for the lock only now, must be told to look again also by a
    // holder that had nothing to load, or it would load.
    let loaded = copy !== undefined
    try {
      if (copy) return copy
      const result = await load()
      loaded = true
      return result
    } finally {
      if (lock.held) lock.release(loaded)
    }
  }
}
