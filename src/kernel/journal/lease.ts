import type { Clock } from '../clock.js'

/** If the wall clock moves against the monotonic one by more ms than this, the machine was suspended or its clock was set. */
const suspensionToleranceMs = 100

/**
 * The right to answer from the caches for a limited time. Each successful check renews it. It counts from *before* the check
 * was sent: counted from the reply, a slow reply would extend the bound on staleness by its own delay.
 */
export class Lease {
  #until = Number.NEGATIVE_INFINITY
  #offset = 0
  /** The turn of the event loop in which the lease was last found valid, and the time of that. */
  #seenIn = -1
  #seenAt = 0

  constructor(
    private readonly clock: Clock,
    readonly maxStalenessMs: number,
  ) {}

  /**
   * @param startedAt monotonic ms before the check's first statement
   * @param startedAtWall wall clock at that moment
   */
  renew(startedAt: number, startedAtWall: number): void {
    const until = startedAt + this.maxStalenessMs
    if (until <= this.#until) return
    this.#until = until
    this.#offset = startedAtWall - startedAt
  }

  holds(): boolean {
    return this.heldAt() !== undefined
  }

  /**
   * When the lease was found valid in this turn of the event loop, in monotonic ms; undefined if it is not valid.
   *
   * The clocks are read once a turn, because reading them at each hit would be two thirds of its cost. Requests that are
   * answered in a turn arrived before it, and the bound on staleness ends when the request arrives.
   */
  heldAt(): number | undefined {
    const turn = this.clock.turn()
    if (turn === this.#seenIn) return this.#seenAt
    const now = this.clock.now()
    if (now >= this.#until) return undefined
    // While a machine is suspended, its monotonic clock stands still. A lease would survive a night of that.
    if (Math.abs(this.clock.wall() - now - this.#offset) <= suspensionToleranceMs) {
      this.#seenIn = turn
      this.#seenAt = now
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
