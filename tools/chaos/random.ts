/** Random numbers from a seed (mulberry32). The same seed gives the same numbers on every machine. */
export class Random {
  #state: number

  constructor(seed: number) {
    this.#state = seed >>> 0
  }

  /** A number from 0 to below 1. */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0
    let t = this.#state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296
  }

  /** A whole number from `least` to `most`. */
  integer(least: number, most: number): number {
    return least + Math.floor(this.next() * (most - least + 1))
  }

  chance(probability: number): boolean {
    return this.next() < probability
  }

  pick<Item>(items: readonly Item[]): Item {
    if (items.length === 0) throw new RangeError('There is nothing to pick from')
    return items[Math.floor(this.next() * items.length)] as Item
  }

  shuffled<Item>(items: readonly Item[]): Item[] {
    const result = [...items]
    for (let last = result.length - 1; last > 0; last--) {
      const other = this.integer(0, last)
      ;[result[last], result[other]] = [result[other] as Item, result[last] as Item]
    }
    return result
  }

  /** An index below `count`. Small ones are much more frequent, like hot keys. */
  skewed(count: number): number {
    return Math.min(count - 1, Math.floor(this.next() ** 3 * count))
  }

  /** A new generator, so that the draws of one part do not change those of another. */
  fork(): Random {
    return new Random(this.integer(0, 4_294_967_295))
  }
}
