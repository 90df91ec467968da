import type { Clock } from '../clock.js'

/** A jump of the wall clock against the monotonic one beyond this, in ms, means that the machine was suspended. */
const suspensionToleranceMs = 100

/**
 * For how long, in monotonic ms, a look at the wall clock is trusted. A machine that wakes up cannot receive a request
 * in less, and what is being answered just then arrived before it slept. It saves every second look at a clock, which
 * is a third of what a hit costs.
 */
const trustedMs = 0.02

/**
 * The right to serve from the caches, bought by a check and counted from *before* it was sent: counted from
 * the reply, a slow answer would stretch the bound by its own delay.
 */
export class Lease {
  #until = Number.NEGATIVE_INFINITY
  #offset = 0
  #comparedAt = Number.NEGATIVE_INFINITY

  constructor(
    private readonly clock: Clock,
    readonly maxStalenessMs: number,
  ) {}

  /**
   * @param startedAt monotonic ms, noted before the check's first statement
   * @param startedAtWall wall clock at that moment
   */
  renew(startedAt: number, startedAtWall: number): void {
    const until = startedAt + this.maxStalenessMs
    if (until <= this.#until) return
    this.#until = until
    this.#offset = startedAtWall - startedAt
    this.#comparedAt = Number.NEGATIVE_INFINITY
  }

  holds(): boolean {
    return this.heldAt() !== undefined
  }

  /** The monotonic time, if the lease holds: whoever needs to know both looks once. */
  heldAt(): number | undefined {
    const now = this.clock.now()
    if (now >= this.#until) return undefined
    if (now - this.#comparedAt < trustedMs) return now
    // While a machine is suspended its monotonic clock stands still and the lease would outlive the night.
    if (Math.abs(this.clock.wall() - now - this.#offset) <= suspensionToleranceMs) {
      this.#comparedAt = now
      return now
    }
    this.#until = Number.NEGATIVE_INFINITY
    return undefined
  }

  /** Milliseconds left; 0 without a lease. */
  remaining(): number {
    return Math.max(0, this.#until - this.clock.now())
  }
}
