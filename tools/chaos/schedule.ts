import type { Fault, LaneName } from './faults/fault.js'
import { Random } from './random.js'

/** A run alternates between quiet phases, in which no fault starts, and storms. */
const stormMs = 12_000
const quietMs = 5_000
const longestPauseMs = 3_000

export interface Planned {
  readonly fault: Fault
  /** Decides the details of the fault, such as its node and its length. */
  readonly random: Random
  /** Milliseconds between the previous fault and this one. */
  readonly pauseMs: number
}

/**
 * Chooses the faults and their order from the seed alone. Their times also depend on how long servers and nodes take to come
 * back.
 */
export class Schedule {
  readonly #random: Random
  readonly #decks = new Map<LaneName, Fault[]>()

  constructor(
    seed: number,
    private readonly faults: readonly Fault[],
  ) {
    this.#random = new Random(seed)
  }

  /** Milliseconds until the next storm, at a moment of the run; 0 during a storm. */
  untilStorm(elapsedMs: number): number {
    const phase = elapsedMs % (stormMs + quietMs)
    return phase < quietMs ? quietMs - phase : 0
  }

  /** Returns every kind of a lane once before any comes again. Undefined for a lane without faults. */
  next(lane: LaneName): Planned | undefined {
    let deck = this.#decks.get(lane) ?? []
    if (deck.length === 0) {
      deck = this.#random.shuffled(this.faults.filter((fault) => fault.lane === lane))
      this.#decks.set(lane, deck)
    }
    const fault = deck.pop()
    if (!fault) return undefined
    return { fault, random: this.#random.fork(), pauseMs: this.#random.integer(0, longestPauseMs) }
  }
}
