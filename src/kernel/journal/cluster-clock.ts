import type { Clock } from '../clock.js'

/**
 * The time of the cluster, which is the time of Postgres. Each check reads it, and this node's monotonic clock continues it
 * until the next. So nodes whose wall clocks are minutes apart agree on it, within half the round trip of a check. It decides
 * when the time to live of a value is over. It does not decide whether a value is *fresh*: positions do.
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
   * Takes a new reading of the clock. Postgres read it at an unknown moment between the two given, so a quicker reply gives a
   * better estimate. A slower reply replaces that estimate only if the two contradict each other: then a clock was set.
   *
   * @param clockMs ms since 1970 by the clock of Postgres
   * @param startedAt monotonic ms before the query
   * @param endedAt monotonic ms after the reply
   */
  observe(clockMs: number, startedAt: number, endedAt: number): void {
    const offset = clockMs - (startedAt + endedAt) / 2
    const error = (endedAt - startedAt) / 2
    // Two clocks never run at the same speed, so an estimate becomes worse with time. Without this, the quickest reply ever
    // would count for good.
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

  /** Converts a time of the cluster into this node's monotonic ms. */
  toLocal(clusterMs: number): number {
    return clusterMs - this.#offset
  }
}

/** How much two clocks may drift apart, in ms per ms: NTP slews each of them by at most 500 ppm. */
const driftRate = 0.001
