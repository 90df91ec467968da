import { LoadTimeoutError } from '../../src/kernel/cache/cache-errors.js'
import type { EntryOptions } from '../../src/kernel/cache/entry-options.js'
import type { StaleAnswer } from '../../src/kernel/journal/consistency.js'
import { type Arrival, Violation } from './judge.js'
import type { Ledger, Load, Place } from './ledger.js'
import { effectiveOptions, type NodeMemory, type Remembered, usableUntil } from './node-memory.js'
import { type Effect, type Invalidations, worse } from './reference-model.js'
import type { CacheName } from './sequence.js'

/** One read that may load, and how it ended. */
export interface Outcome {
  readonly arrival: Arrival
  readonly sentToken: boolean
  readonly cache: CacheName
  readonly keys: readonly string[]
  readonly options: EntryOptions
  /** Those of them that the call itself has passed. */
  readonly chosen: Partial<EntryOptions> | undefined
  /** Ms at which it ended, and what its node had applied by then. */
  readonly at: number
  readonly place: Place
  readonly stale: StaleAnswer | undefined
  /** The load that made each answer; undefined for an absence. */
  readonly loads: readonly (Load | undefined)[]
  readonly error: unknown
}

/** Milliseconds for what a read does beside waiting for its load: a round trip or two, and timers. */
const asideMs = 60

/**
 * What a read is owed, where there is no trouble that would excuse it:
 *
 * 1. what its node's memory has fresh is answered, without another load;
 * 2. a load that fails is not heard of, where fail-safe has something to answer;
 * 3. nobody is told that a load took too long of which none was under way, nor before the caller's own time was over, nor much
 *    later than that;
 * 4. nobody is answered something stale but because a load has failed, or taken too long for this very caller, within the time
 *    for which its own options ask for no other attempt.
 */
export class Obligations {
  constructor(
    private readonly ledger: Ledger,
    private readonly memory: NodeMemory,
    private readonly invalidations: Invalidations,
  ) {}

  check(outcome: Outcome): void {
    const { cache, keys, arrival, error } = outcome
    for (const [index, key] of keys.entries()) {
      const remembered = this.memory.before(arrival.at, arrival.node, cache, key)
      if (remembered) {
        this.#freshIsAnswered(outcome, key, remembered, outcome.loads[index])
        this.#failureIsHidden(outcome, key, remembered)
      }
    }
    if (error instanceof LoadTimeoutError && error.cache === cache) this.#tookTooLong(outcome, error)
    this.#endsInTime(outcome)
    this.#markHasReason(outcome)
  }

  #freshIsAnswered(
    { arrival, at, place, options, error, keys }: Outcome,
    key: string,
    { load: remembered, freshUntil }: Remembered,
    answered: Load | undefined,
  ): void {
    if (options.skipL1Read || freshUntil === undefined || at >= freshUntil) return
    if (effectiveOptions(remembered).eagerRefreshThreshold > 0 || options.eagerRefreshThreshold > 0) return
    // Another node may have renewed it, which says nothing of the copy here. A load that ended later may have replaced it.
    if (remembered.renewals.length > 0 || this.#isFollowed(remembered, arrival.node)) return
    if (this.#worstOf(remembered, place) !== undefined) return
    const what = `load ${remembered.id} of ${remembered.cache} "${key}" is fresh in the memory of its node until ${freshUntil} ms`
    // Of several keys, another may have failed.
    if (error && keys.length > 1) return
    if (error) throw new Violation(`${what}, and a read failed at ${at} ms: ${String(error)}`)
    if (!answered || answered.beganAt > arrival.at)
      throw new Violation(`${what}, and a read at ${arrival.at} ms loaded another`)
  }

  #failureIsHidden(
    { at, place, options, chosen, error, keys, sentToken, arrival }: Outcome,
    key: string,
    { load, usableUntil }: Remembered,
  ): void {
    const allows = chosen?.failSafe ?? load.adapted.failSafe ?? options.failSafe
    if (!error || keys.length > 1 || !allows || sentToken || at >= usableUntil) return
    const standing = this.#worstOf(load, place)
    if (standing === 'removed' || (standing === 'superseded' && !options.allowInvalidated)) return
    // What was loaded since is newer than what there is, though it is kept nowhere, or may no longer be answered.
    if (this.#isFollowed(load, arrival.node, at)) return
    throw new Violation(
      `load ${load.id} of ${load.cache} "${key}" is there for fail-safe until ${usableUntil} ms, and a read failed at ${at} ms: ${String(error)}`,
    )
  }

  /**
   * Whether a later load has ended whose value this node has been answered, or may have been.
   *
   * @param at if also one counts that another node has made, and that fail-safe may not answer at this ms
   */
  #isFollowed(load: Load, node: number, at = Number.NEGATIVE_INFINITY): boolean {
    return this.ledger.all.some(
      (later) =>
        later.cache === load.cache &&
        later.key === load.key &&
        (later.node === node || !later.isKept || !mayBeUsed(later, at)) &&
        later !== load &&
        !later.failed &&
        (later.endedAt ?? 0) >= (load.endedAt ?? 0),
    )
  }

  #tookTooLong({ arrival, at, cache, options }: Outcome, { key, timeoutMs }: LoadTimeoutError): void {
    const waitedMs = at - arrival.at
    const what = `a read of ${cache} "${key}" was told after ${waitedMs} ms that its load took longer than ${timeoutMs} ms`
    if (timeoutMs !== options.hardTimeoutMs)
      throw new Violation(`${what}, and asked for ${options.hardTimeoutMs}`)
    if (waitedMs < timeoutMs - 1) throw new Violation(what)
    if (!this.#overlapping(arrival, cache, key, at).length)
      throw new Violation(`${what}, and none was under way`)
  }

  #endsInTime({ arrival, at, cache, keys, options, sentToken }: Outcome): void {
    const waitedMs = at - arrival.at
    if (sentToken || waitedMs <= options.hardTimeoutMs + asideMs) return
    throw new Violation(
      `a read of ${cache} ${keys.join()} took ${waitedMs} ms, and was to take ${options.hardTimeoutMs} at most`,
    )
  }

  #markHasReason({ arrival, at, cache, keys, options, stale, loads }: Outcome): void {
    const [key] = keys
    const [load] = loads
    if (!stale || stale.staleness === 'unverified' || keys.length !== 1 || key === undefined) return
    if (!load || load.mayBeMadeOfStale || options.failSafeThrottleMs > 0) return
    const tried = this.#overlapping(arrival, cache, key, at)
    const patienceMs = Math.min(options.softTimeoutMs, options.hardTimeoutMs)
    if (tried.some(({ failed }) => failed) || at - arrival.at >= patienceMs - 1) return
    throw new Violation(
      `${cache} "${key}" was answered stale after ${at - arrival.at} ms: no load had failed meanwhile, and the caller would have waited for ${patienceMs} ms`,
    )
  }

  #overlapping(arrival: Arrival, cache: CacheName, key: string, until: number): readonly Load[] {
    return this.ledger.all.filter(
      (load) =>
        load.cache === cache &&
        load.key === key &&
        load.node === arrival.node &&
        load.beganAt <= until &&
        (load.endedAt ?? until) >= arrival.at,
    )
  }

  /** A node has loaded a value and answered it; it keeps it, unless something was invalidated meanwhile. */
  loaded(now: number, place: Place, load: Load, endedAt: number): void {
    if (this.ledger.withParts(load).some(({ dependsOnMore }) => dependsOnMore)) return
    if (this.#worstOf(load, place) === undefined) this.memory.loaded(now, load, endedAt)
  }

  /** What a value is made of counts from the begin of its own load, where that is earlier. */
  #worstOf(load: Load, place: Place): Effect | undefined {
    return this.ledger
      .withParts(load)
      .map((part) => this.invalidations.worstSince(part, place, load.began))
      .reduce<Effect | undefined>((worst, one) => (one ? worse(worst, one) : worst), undefined)
  }
}

function mayBeUsed(load: Load, at: number): boolean {
  return at === Number.NEGATIVE_INFINITY || (effectiveOptions(load).failSafe && at < usableUntil(load))
}
