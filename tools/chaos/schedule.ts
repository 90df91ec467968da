import type { Fault, LaneName } from './faults/fault.js'
import { Random } from './random.js'

/** A run is a row of storms with quiet phases between them, in which everything has to come to rest. */
const stormMs = 12_000
const quietMs = 5_000
const longestPauseMs = 3_000

export interface Planned {
  readonly fault: Fault
  /** Decides how it is caused: on which node, for how long. */
  readonly random: Random
  /** ms between the fault before and this one. */
  readonly pauseMs: number
}

/**
 * What happens in which order, from the seed alone. When it happens also depends on how long servers and nodes
 * take to come back.
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

  /** ms until the next storm, at a moment of the run; 0 during one. */
  untilStorm(elapsedMs: number): number {
    const phase = elapsedMs % (stormMs + quietMs)
    return phase < quietMs ? quietMs - phase : 0
  }

  /** Every kind of a lane comes once before any comes twice. Undefined for a lane without any. */
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
