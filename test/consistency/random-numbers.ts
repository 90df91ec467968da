/** Random numbers that a seed repeats (mulberry32; public domain, Tommy Ettinger). */
export class RandomNumbers {
  #state: number

  constructor(seed: number) {
    this.#state = seed >>> 0
  }

  /** At least 0, less than 1. */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0
    let mixed = this.#state
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 0x1_0000_0000
  }

  below(limit: number): number {
    return Math.floor(this.next() * limit)
  }

  oneOf<Value>(values: readonly Value[]): Value {
    return values[this.below(values.length)] as Value
  }

  chance(probability: number): boolean {
    return this.next() < probability
  }
}
