/** Counts durations by their whole ms, so that percentiles of millions of them need little memory. */
export class Distribution {
  readonly #counts: number[] = []
  #size = 0
  #largest = 0

  add(us: number): void {
    const ms = Math.floor(us / 1_000)
    this.#counts[ms] = (this.#counts[ms] ?? 0) + 1
    this.#size++
    this.#largest = Math.max(this.#largest, us)
  }

  get size(): number {
    return this.#size
  }

  /** In ms. */
  get largest(): number {
    return this.#largest / 1_000
  }

  /** In whole ms, rounded up; 0 if there are no durations. */
  percentile(share: number): number {
    let left = this.#size * share
    for (const [ms, count] of this.#counts.entries()) {
      left -= count ?? 0
      if (this.#size > 0 && left <= 0) return ms + 1
    }
    return 0
  }
}
