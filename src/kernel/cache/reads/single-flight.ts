import type { Clock } from '../../clock.js'
import type { AppliedJournal, Stamp } from '../../journal/applied-journal.js'
import type { Lease } from '../../journal/lease.js'
import type { Staleness } from '../cache-events.js'
import type { CacheEntry } from '../entries/cache-entry.js'
import type { LoadScope, WaitingRead } from './load-scope.js'
import { longestTimerMs } from './patience.js'

/** What a read came back with. */
export interface ReadResult {
  readonly entry: CacheEntry
  readonly source: 'l1' | 'l2' | 'miss' | 'bypass'
  /** Set if it must be answered as stale. */
  readonly staleness?: Staleness | undefined
}

/** How a call gets what it is for. */
export interface CallPlan {
  /** Rejects rather than throws. */
  readonly run: (call: Call) => Promise<ReadResult>
  /**
   * Like `run`, for a caller that the call under way itself waits for, or that has to load before that call does. It must
   * not wait for any other load, nor for L2.
   */
  readonly runAlone: (call: Call) => Promise<ReadResult>
  /** Whether it goes on when nobody waits for it any more. */
  readonly goesOnAlone: boolean
  /**
   * The longest time that the caller waits, in ms. Nobody joins a call that is older than their own patience, or older than
   * the patience of the caller who began it. Otherwise a load that never ends would block its key for ever.
   */
  readonly patienceMs: number
}

/** One load under way. */
export class Call {
  /** What it brings; undefined again once it has ended. */
  result: Promise<ReadResult> | undefined
  /** The call of the factory; undefined before it is made. */
  load: LoadScope | undefined
  /** Made for whoever asks, which a call that finds its value in L2 never does: 4 % of the time of such a read. */
  #abort: AbortController | undefined
  /** Monotonic ms by which its factory should be called, so that its value comes in time for the least patient caller. */
  loadBy = Number.POSITIVE_INFINITY
  #early: Promise<ReadResult> | undefined
  #waiters = 0
  #over = false
  #isAbandoned = false
  #waitedMs = 0

  constructor(
    readonly key: string,
    /** What was applied when it began; what it brings may be newer, never older. */
    readonly stamp: Stamp,
    private readonly startedAt: number,
    private readonly patienceMs: number,
    private goesOnAlone: boolean,
    /** Called when all have given it up. */
    private readonly abandoned: (call: Call) => void,
  ) {}

  isJoinable(now: number, patienceMs: number): boolean {
    const ageMs = Math.max(now - this.startedAt, this.#waitedMs)
    return ageMs < Math.min(this.patienceMs, patienceMs)
  }

  /** A caller spends at most half of its patience waiting for L2 or for another node. The rest is left to the load. */
  expectedWithin(patienceMs: number, now: number): void {
    this.loadBy = Math.min(this.loadBy, now + patienceMs / 2)
  }

  /**
   * Somebody has waited for it for so long. Timers go off early, by as much as the turn of the event loop had taken when they
   * were set: by the clock alone, who comes right after that would still join a load that hangs.
   */
  hasTaken(ms: number): void {
    this.#waitedMs = Math.max(this.#waitedMs, ms)
  }

  get signal(): AbortSignal {
    this.#abort ??= new AbortController()
    if (this.#isAbandoned) this.#abort.abort()
    return this.#abort.signal
  }

  /** Whether all callers have given it up, and it is not to go on without them. */
  get isAbandoned(): boolean {
    return this.#isAbandoned
  }

  /** Whether anybody waits for it. */
  get awaited(): boolean {
    return this.#waiters > 0
  }

  /** It goes on without callers if at least one of them has asked for that. */
  isToGoOn(alone: boolean): void {
    this.goesOnAlone ||= alone
  }

  loadBegins(load: LoadScope): void {
    this.load = load
  }

  /** Whether its own call of the factory is still to come. */
  get isStillToLoad(): boolean {
    return this.load === undefined || this.#early !== undefined
  }

  /** For callers who would time out while this call waits for L2 or for another node. They share one load. */
  loadEarly(load: CallPlan['runAlone']): Promise<ReadResult> {
    this.#early ??= load(this)
    return this.#early
  }

  join(): void {
    this.#waiters++
  }

  leave(): void {
    if (--this.#waiters > 0 || this.goesOnAlone || this.#over) return
    this.#isAbandoned = true
    this.#over = true
    this.abandoned(this)
    this.#abort?.abort()
  }

  end(): void {
    this.#over = true
    // A `Map` that is rehashed leaves its old table behind, with its entries and a pointer to the next table. Once such a dead
    // table is in V8's old space, minor collections take it, and all tables after it, for live, and so every call that was
    // ever in them. Were each to keep its value, a read from L2 would take 8 % longer.
    this.result = undefined
  }
}

/** One caller's place, on one call at a time. */
export class Waiter implements WaitingRead {
  #call: Call | undefined
  #hasLeft = false

  /** @param asker the load inside which the caller reads */
  constructor(private readonly asker?: LoadScope) {}

  get load(): LoadScope | undefined {
    return this.#call?.load
  }

  /** Whether the call itself waits for the caller's load, so that neither could end if the caller joined it. */
  isAwaitedBy({ load }: Call): boolean {
    return this.asker ? (load?.waitsFor(this.asker.load) ?? false) : false
  }

  get hasLeft(): boolean {
    return this.#hasLeft
  }

  take(call: Call): void {
    this.#call?.leave()
    this.#call = call
    this.asker?.load.waiting.add(this)
    call.join()
    if (this.#hasLeft) this.leave()
  }

  /** The caller's time, so many ms, is over. */
  timeOut(afterMs: number): void {
    this.#call?.hasTaken(afterMs)
  }

  /** To be called when the caller has its result or waits no longer. */
  leave(): void {
    this.#hasLeft = true
    this.asker?.load.waiting.delete(this)
    this.#call?.leave()
    this.#call = undefined
  }
}

/**
 * One load a key and node at a time, shared by all who may: a caller joins a call only if what it brings cannot
 * be older than the caller's request. A call that failed, or was given up by all, is forgotten.
 */
export class SingleFlight {
  readonly #calls = new Map<string, Call>()

  /**
   * @param slotsOf the slots that every value of a key depends on, whatever else it will turn out to
   * @param hasEnd whether an event would tell that an entry no longer holds; none does of an absence that is not kept
   */
  constructor(
    private readonly applied: AppliedJournal,
    private readonly lease: Lease,
    private readonly clock: Clock,
    private readonly slotsOf: (key: string) => readonly number[],
    private readonly hasEnd: (entry: CacheEntry) => boolean,
  ) {}

  /** @param requiredPosition the position that the caller's token asks for */
  join(key: string, requiredPosition: number, plan: CallPlan, waiter: Waiter): Promise<ReadResult> {
    return this.#calls.has(key)
      ? this.#joinRunning(key, requiredPosition, plan, waiter)
      : this.#start(key, plan, waiter)
  }

  /** One that nobody else may join. */
  startAlone(key: string, goesOnAlone: boolean, waiter: Waiter): Call {
    const call = new Call(key, this.applied.stamp(), this.clock.now(), 0, goesOnAlone, this.#forget)
    waiter.take(call)
    return call
  }

  /** Whether a call of the key is under way that a caller without a token may join. */
  isUnderWay(key: string): boolean {
    return this.#joinable(key, 0, Number.POSITIVE_INFINITY) !== undefined
  }

  async #joinRunning(
    key: string,
    requiredPosition: number,
    plan: CallPlan,
    waiter: Waiter,
  ): Promise<ReadResult> {
    const { applied } = this
    for (;;) {
      const joined = applied.stamp()
      const running = this.#joinable(key, requiredPosition, plan.patienceMs)
      if (!running?.result) return this.#start(key, plan, waiter)
      // Two requests that enter a cycle at different keys would otherwise wait for each other's loads for ever.
      if (waiter.isAwaitedBy(running)) return plan.runAlone(this.startAlone(key, plan.goesOnAlone, waiter))
      running.expectedWithin(plan.patienceMs, this.clock.now())
      running.isToGoOn(plan.goesOnAlone)
      waiter.take(running)
      const result = await this.#resultInTime(running, running.result, plan)
      const { stamp, slots } = result.entry
      // The value's real tags are known only now, and of each only its *last* invalidation: an earlier one may
      // have come before this caller did, which would make the value older than its request. Only if nothing
      // at all was applied between the load's begin and this caller is a stale value still new enough for it.
      const nothingBetween = stamp.epoch === joined.epoch && stamp.position >= joined.position
      if (nothingBetween || waiter.hasLeft) return result
      // What was created in between invalidates nothing where nobody keeps its absence, so that cannot tell either.
      if (this.hasEnd(result.entry) && applied.isFresh(stamp, slots)) return result
    }
  }

  /**
   * What a call brings. It may wait for a hung Redis, as long as the caller who began it would. So a caller waits until the
   * call loads for three quarters of its own time; after half of it the call stops waiting for other nodes.
   */
  async #resultInTime(
    running: Call,
    result: Promise<ReadResult>,
    { patienceMs, runAlone }: CallPlan,
  ): Promise<ReadResult> {
    if (patienceMs === Number.POSITIVE_INFINITY || !running.isStillToLoad) return result
    const hasEnded = await this.clock.within(Math.min((patienceMs * 3) / 4, longestTimerMs), result)
    return hasEnded || !running.isStillToLoad ? result : running.loadEarly(runAlone)
  }

  #joinable(key: string, requiredPosition: number, patienceMs: number): Call | undefined {
    const running = this.#calls.get(key)
    return running && this.#mayJoin(key, running, requiredPosition, patienceMs) ? running : undefined
  }

  /** A load that began before the caller's token, or before an invalidation of the key, would answer with the past. */
  #mayJoin(key: string, call: Call, requiredPosition: number, patienceMs: number): boolean {
    return (
      call.stamp.position >= requiredPosition &&
      this.applied.isFresh(call.stamp, this.slotsOf(key)) &&
      this.lease.holds() &&
      call.isJoinable(this.clock.now(), patienceMs)
    )
  }

  #start(key: string, plan: CallPlan, waiter: Waiter): Promise<ReadResult> {
    const { patienceMs, goesOnAlone } = plan
    const stamp = this.applied.stamp()
    const now = this.clock.now()
    const call = new Call(key, stamp, now, patienceMs, goesOnAlone, this.#forget)
    call.expectedWithin(patienceMs, now)
    const result = plan.run(call)
    call.result = result
    this.#calls.set(key, call)
    // Only now, as a caller that has left by this time gives the call up, and it has to be forgotten: what nobody waits for
    // will fail, and whoever comes next must not share that.
    waiter.take(call)
    const ended = () => {
      call.end()
      this.#forget(call)
    }
    // Before whoever waits for it goes on.
    result.then(ended, ended)
    return result
  }

  readonly #forget = (call: Call): void => {
    // A later call, which this one was too old for, may have taken its place.
    if (this.#calls.get(call.key) === call) this.#calls.delete(call.key)
  }
}
