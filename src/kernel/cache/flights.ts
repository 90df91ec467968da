import type { AppliedJournal, Stamp } from '../journal/applied-journal.js'
import type { Lease } from '../journal/lease.js'
import type { CacheEntry } from './cache-entry.js'

/** What a flight came back with. */
export interface Landing {
  readonly entry: CacheEntry
  readonly source: 'l2' | 'miss'
}

interface Flight {
  /** What was applied when it began; what it brings may be newer, never older. */
  readonly stamp: Stamp
  readonly landing: Promise<Landing>
}

/**
 * One load a key and node at a time, shared by all who may: a caller joins a flight only if what it brings cannot
 * be older than the caller's request. A flight that failed is forgotten with its failure.
 */
export class Flights {
  readonly #flights = new Map<string, Flight>()

  /** @param slotsOf the slots that every value of a key depends on, whatever else it will turn out to */
  constructor(
    private readonly applied: AppliedJournal,
    private readonly lease: Lease,
    private readonly slotsOf: (key: string) => readonly number[],
  ) {}

  /**
   * @param requiredPosition the position that the caller's token asks for
   * @throws what `fly` throws, to everybody on board
   */
  async fetch(key: string, requiredPosition: number, fly: () => Promise<Landing>): Promise<Landing> {
    const { applied } = this
    for (;;) {
      const joined = applied.stamp()
      const running = this.#flights.get(key)
      if (!running || !this.#mayJoin(key, running, requiredPosition)) return this.#takeOff(key, fly).landing
      const landing = await running.landing
      const { stamp, slots } = landing.entry
      // The value's real tags are known only now, and of each only its *last* invalidation: an earlier one may
      // have come before this caller did, which would make the value older than its request. Only if nothing
      // at all was applied between the load's begin and this caller is a stale value still new enough for it.
      const nothingBetween = stamp.epoch === joined.epoch && stamp.position >= joined.position
      if (nothingBetween || applied.isFresh(stamp, slots)) return landing
    }
  }

  /** A load that began before the caller's token, or before an invalidation of the key, would answer with the past. */
  #mayJoin(key: string, flight: Flight, requiredPosition: number): boolean {
    return (
      flight.stamp.position >= requiredPosition &&
      this.applied.isFresh(flight.stamp, this.slotsOf(key)) &&
      this.lease.holds()
    )
  }

  #takeOff(key: string, fly: () => Promise<Landing>): Flight {
    const flight: Flight = {
      stamp: this.applied.stamp(),
      landing: fly().finally(() => {
        // A later flight, which this one was too old for, may have taken its place.
        if (this.#flights.get(key) === flight) this.#flights.delete(key)
      }),
    }
    this.#flights.set(key, flight)
    return flight
  }
}
