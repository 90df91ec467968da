/**
 * For each hashed key and tag, the position of its last invalidation: a fixed table of 8 bytes a slot.
 *
 * Two names that share a slot cost a needless reload, never a stale answer, so the table needs no
 * eviction and no locking; applying one event, removing a tag of a million entries and flushing
 * everything are O(1). The hash is seeded per process, so that nobody can choose names that collide.
 * (Murmur3's finaliser over a multiplicative string hash; public domain, Austin Appleby.)
 */
export class LastInvalidations {
  readonly #slots: Float64Array
  readonly #mask: number
  readonly #seed: number
  #floor = 0

  /** @param slotCount a power of two between 2^8 and 2^26 */
  constructor(slotCount: number, seed = Math.floor(Math.random() * 0x1_0000_0000)) {
    if (!Number.isInteger(Math.log2(slotCount)) || slotCount < 256 || slotCount > 67_108_864) {
      throw new RangeError(`The table of last invalidations has 2^8 to 2^26 slots, not ${slotCount}`)
    }
    this.#slots = new Float64Array(slotCount)
    this.#mask = slotCount - 1
    this.#seed = seed
  }

  /** Everything loaded before this position is stale, whatever its key. */
  get floor(): number {
    return this.#floor
  }

  slotOf(name: string): number {
    let hash = this.#seed
    for (let index = 0; index < name.length; index++) {
      hash = Math.imul(hash ^ name.charCodeAt(index), 0x5bd1e995)
      hash ^= hash >>> 15
    }
    hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
    hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
    return (hash ^ (hash >>> 16)) & this.#mask
  }

  /** Positions only rise, so that repeating or reordering invalidations cannot make anything fresh again. */
  invalidate(name: string, position: number): void {
    const slot = this.slotOf(name)
    if (position > (this.#slots[slot] as number)) this.#slots[slot] = position
  }

  raiseFloor(position: number): void {
    if (position > this.#floor) this.#floor = position
  }

  /** Positions of another epoch mean nothing: forget them all, and trust nothing older than `floor`. */
  reset(floor: number): void {
    this.#slots.fill(0)
    this.#floor = floor
  }

  /** The position of the newest invalidation of any of the slots. */
  lastOf(slots: ArrayLike<number>): number {
    let last = this.#floor
    for (let index = 0; index < slots.length; index++) {
      const position = this.#slots[slots[index] as number] as number
      if (position > last) last = position
    }
    return last
  }
}
