import type { Clock } from '../clock.js'

/** A jump of the wall clock against the monotonic one beyond this, in ms, means that the machine was suspended. */
const suspensionToleranceMs = 100

/**
 * The right to serve from the caches, bought by a check and counted from *before* it was sent: counted from
 * the reply, a slow answer would stretch the bound by its own delay.
 */
export class Lease {
  #until = Number.NEGATIVE_INFINITY
  #offset = 0
  /** The turn of the event loop in which it was last seen to hold, and when that was. */
  #seenIn = -1
  #seenAt = 0

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
  }

  holds(): boolean {
    return this.heldAt() !== undefined
  }

  /**
   * When it was seen to hold, in monotonic ms of this turn of the event loop; undefined if it does not.
   *
   * The clocks are looked at once a turn. Whatever is answered in it was asked for before it, and the bound is counted
   * to the arrival of the request. Two looks at clocks would be two thirds of what a hit costs.
   */
  heldAt(): number | undefined {
    const turn = this.clock.turn()
    if (turn === this.#seenIn) return this.#seenAt
    const now = this.clock.now()
    if (now >= this.#until) return undefined
    // While a machine is suspended its monotonic clock stands still and the lease would outlive the night.
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
