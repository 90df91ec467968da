/** Numbers from a seed (mulberry32): the same seed gives the same numbers on every machine. */
export class Random {
  #state: number

  constructor(seed: number) {
    this.#state = seed >>> 0
  }

  /** From 0 to below 1. */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0
    let t = this.#state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296
  }

  /** A whole number, both ends included. */
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

  /** An index below `count`; small ones come far more often, as hot keys do. */
  skewed(count: number): number {
    return Math.min(count - 1, Math.floor(this.next() ** 3 * count))
  }

  /** A generator of its own, so that what one part draws does not change what another one gets. */
  fork(): Random {
    return new Random(this.integer(0, 4_294_967_295))
  }
}
