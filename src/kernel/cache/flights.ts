import type { Clock } from '../clock.js'
import type { AppliedJournal, Stamp } from '../journal/applied-journal.js'
import type { Lease } from '../journal/lease.js'
import type { CacheEntry } from './cache-entry.js'
import type { Staleness } from './cache-events.js'

/** What a read came back with. */
export interface Landing {
  readonly entry: CacheEntry
  readonly source: 'l1' | 'l2' | 'miss' | 'bypass'
  /** Set if it must be answered as stale. */
  readonly staleness?: Staleness | undefined
}

/** How a flight gets what it is for. */
export interface FlightPlan {
  readonly fly: (flight: Flight) => Promise<Landing>
  /** Whether it goes on when nobody waits for it any more. */
  readonly goesOnAlone: boolean
  /** Milliseconds after which nobody joins it any more: one that never ends must not hold its key for good. */
  readonly joinableMs: number
}

/** One load under way. */
export class Flight {
  /** Made for whoever asks, which a flight that finds its value in L2 never does: 4 % of the time of such a read. */
  #abort: AbortController | undefined
  #passengers = 0
  #over = false
  #isAbandoned = false

  constructor(
    /** What was applied when it began; what it brings may be newer, never older. */
    readonly stamp: Stamp,
    readonly joinableUntil: number,
    private readonly goesOnAlone: boolean,
    /** Called when all have given it up. */
    private readonly abandoned: (flight: Flight) => void,
  ) {}

  get signal(): AbortSignal {
    this.#abort ??= new AbortController()
    if (this.#isAbandoned) this.#abort.abort()
    return this.#abort.signal
  }

  /** Whether anybody waits for it. */
  get awaited(): boolean {
    return this.#passengers > 0
  }

  board(): void {
    this.#passengers++
  }

  leave(): void {
    if (--this.#passengers > 0 || this.goesOnAlone || this.#over) return
    this.#isAbandoned = true
    this.#over = true
    this.abandoned(this)
    this.#abort?.abort()
  }

  land(): void {
    this.#over = true
  }
}

interface Departed {
  readonly flight: Flight
  readonly landing: Promise<Landing>
}

/** One caller's way to a landing, perhaps on several flights. */
export interface Passage {
  readonly landing: Promise<Landing>
  /** To be called once, when the caller has its landing or waits no longer. */
  leave(): void
}

/**
 * One load a key and node at a time, shared by all who may: a caller joins a flight only if what it brings cannot
 * be older than the caller's request. A flight that failed, or was given up by all, is forgotten.
 */
export class Flights {
  readonly #flights = new Map<string, Departed>()

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
  board(key: string, requiredPosition: number, plan: FlightPlan): Passage {
    let boarded: Flight | undefined
    let left = false
    const leave = (): void => {
      left = true
      boarded?.leave()
      boarded = undefined
    }
    const landing = this.#flights.has(key)
      ? this.#travel(key, requiredPosition, plan, board, () => left)
      : this.#takeOff(key, plan, board)
    return { landing, leave }

    function board(flight: Flight): void {
      boarded?.leave()
      boarded = flight
      flight.board()
    }
  }

  /** Whether a flight of the key is under way that a caller without a token may join. */
  isUnderWay(key: string): boolean {
    return this.#joinable(key, 0) !== undefined
  }

  async #travel(
    key: string,
    requiredPosition: number,
    plan: FlightPlan,
    board: (flight: Flight) => void,
    hasLeft: () => boolean,
  ): Promise<Landing> {
    const { applied } = this
    for (;;) {
      const joined = applied.stamp()
      const running = this.#joinable(key, requiredPosition)
      if (!running) return this.#takeOff(key, plan, board)
      board(running.flight)
      const landing = await running.landing
      const { stamp, slots } = landing.entry
      // The value's real tags are known only now, and of each only its *last* invalidation: an earlier one may
      // have come before this caller did, which would make the value older than its request. Only if nothing
      // at all was applied between the load's begin and this caller is a stale value still new enough for it.
      const nothingBetween = stamp.epoch === joined.epoch && stamp.position >= joined.position
      if (nothingBetween || hasLeft()) return landing
      // What was created in between invalidates nothing where nobody keeps its absence, so that cannot tell either.
      if (this.hasEnd(landing.entry) && applied.isFresh(stamp, slots)) return landing
    }
  }

  #joinable(key: string, requiredPosition: number): Departed | undefined {
    const running = this.#flights.get(key)
    return running && this.#mayJoin(key, running.flight, requiredPosition) ? running : undefined
  }

  /** A load that began before the caller's token, or before an invalidation of the key, would answer with the past. */
  #mayJoin(key: string, flight: Flight, requiredPosition: number): boolean {
    return (
      flight.stamp.position >= requiredPosition &&
      this.applied.isFresh(flight.stamp, this.slotsOf(key)) &&
      this.lease.holds() &&
      this.clock.now() < flight.joinableUntil
    )
  }

  #takeOff(key: string, plan: FlightPlan, board: (flight: Flight) => void): Promise<Landing> {
    // What nobody waits for will fail; a caller that comes now must not share that.
    const abandoned = (one: Flight) => this.#forget(key, one)
    const joinableUntil = this.clock.now() + plan.joinableMs
    const flight = new Flight(this.applied.stamp(), joinableUntil, plan.goesOnAlone, abandoned)
    board(flight)
    const landing = this.#fly(key, flight, plan)
    this.#flights.set(key, { flight, landing })
    return landing
  }

  async #fly(key: string, flight: Flight, plan: FlightPlan): Promise<Landing> {
    try {
      return await plan.fly(flight)
    } finally {
      flight.land()
      this.#forget(key, flight)
    }
  }

  #forget(key: string, flight: Flight): void {
    // A later flight, which this one was too old for, may have taken its place.
    if (this.#flights.get(key)?.flight === flight) this.#flights.delete(key)
  }
}
