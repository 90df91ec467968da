import type { Clock } from '../clock.js'

/**
 * The time of the cluster: that of Postgres, as the checks bring it along, carried on by this node's monotonic
 * clock. Nodes whose wall clocks are minutes apart agree on it to within half the round trip of a check. It says
 * when a value's time to live is over; whether a value is *fresh* is not a question of time.
 */
export class ClusterClock {
  #offset = Number.NaN
  #error = Number.POSITIVE_INFINITY
  #observedAt = 0

  constructor(private readonly clock: Clock) {}

  /** False until the first check has succeeded. */
  get known(): boolean {
    return !Number.isNaN(this.#offset)
  }

  /**
   * Postgres read its clock somewhere between the two moments; nobody can tell where. The estimate of a quicker
   * reply is the better one, so a slower reply replaces it only if both cannot be true: then a clock was set.
   *
   * @param clockMs ms since 1970 by the clock of Postgres
   * @param startedAt monotonic ms before the question
   * @param endedAt monotonic ms after the answer
   */
  observe(clockMs: number, startedAt: number, endedAt: number): void {
    const offset = clockMs - (startedAt + endedAt) / 2
    const error = (endedAt - startedAt) / 2
    // An old estimate grows worse, as no two clocks run alike; without this the luckiest would stay for good.
    const presentError = this.#error + (endedAt - this.#observedAt) * driftRate
    const contradicts = Math.abs(offset - this.#offset) > error + presentError
    if (this.known && error > presentError && !contradicts) return
    this.#offset = offset
    this.#error = error
    this.#observedAt = endedAt
  }

  /** Milliseconds since 1970 by the clock of Postgres; NaN until it is known. */
  now(): number {
    return this.clock.now() + this.#offset
  }

  /** The monotonic ms of this node at a moment of the cluster's. */
  toLocal(clusterMs: number): number {
    return clusterMs - this.#offset
  }
}

/** Milliseconds a millisecond by which two clocks may drift apart: NTP slews each of them by at most 500 ppm. */
const driftRate = 0.001
