/** Slots of the two lesser tables. Few suffice: a collision there costs a fail-safe copy. */
const lesserSlotCount = 65_536

/**
 * For each hashed key and tag, the position of its last invalidation: a fixed table of 8 bytes a slot.
 *
 * Two names that share a slot cost a needless reload, never a stale answer, so the table needs no
 * eviction and no locking; applying one event, removing a tag of a million entries and flushing
 * everything are O(1). The hash is seeded per process, so that nobody can choose names that collide.
 * (Murmur3's finaliser over a multiplicative string hash; public domain, Austin Appleby.)
 *
 * There are three kinds. What is *superseded* is older than a committed write. What is *expired* counts as past its
 * time. What is *removed* is superseded, and its fail-safe copy is gone as well.
 */
export class LastInvalidations {
  readonly #superseded: PositionTable
  readonly #expired = new LesserTable()
  readonly #removed = new LesserTable()
  readonly #mask: number
  readonly #seed: number

  /** @param slotCount a power of two between 2^8 and 2^26 */
  constructor(slotCount: number, seed = Math.floor(Math.random() * 0x1_0000_0000)) {
    if (!Number.isInteger(Math.log2(slotCount)) || slotCount < 256 || slotCount > 67_108_864) {
      throw new RangeError(`The table of last invalidations has 2^8 to 2^26 slots, not ${slotCount}`)
    }
    this.#superseded = new PositionTable(slotCount)
    this.#mask = slotCount - 1
    this.#seed = seed
  }

  /** Everything loaded before this position is stale, whatever its key. */
  get floor(): number {
    return this.#superseded.floor
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

  invalidate(name: string, position: number): void {
    this.#superseded.raise(this.slotOf(name), position)
  }

  expire(name: string, position: number): void {
    this.#expired.raise(this.slotOf(name), position)
  }

  remove(name: string, position: number): void {
    const slot = this.slotOf(name)
    this.#superseded.raise(slot, position)
    this.#removed.raise(slot, position)
  }

  raiseFloor(position: number): void {
    this.#superseded.raiseFloor(position)
  }

  raiseExpiryFloor(position: number): void {
    this.#expired.raiseFloor(position)
  }

  raiseRemovalFloor(position: number): void {
    this.#superseded.raiseFloor(position)
    this.#removed.raiseFloor(position)
  }

  /** Positions of another epoch mean nothing: forget them all, and trust nothing older than `floor`. */
  reset(floor: number): void {
    this.#superseded.reset(floor)
    this.#expired.reset(0)
    // What was removed below the floor is not known here: L2 may still hold a copy of it.
    this.#removed.reset(floor)
  }

  /** Whether nothing of the slots was superseded or expired after a position. Asked at every read. */
  isCurrent(position: number, slots: ArrayLike<number>): boolean {
    // Only values older than the newest invalidation there was are looked up: each slot is a miss of the processor's caches.
    return (
      (position >= this.#superseded.newest || position >= this.#superseded.lastOf(slots)) &&
      (position >= this.#expired.newest || position >= this.#expired.lastOf(slots))
    )
  }

  /** The position at which any of the slots was last superseded or expired. */
  lastOf(slots: ArrayLike<number>): number {
    return Math.max(this.#superseded.lastOf(slots), this.#expired.lastOf(slots))
  }

  lastSupersededOf(slots: ArrayLike<number>): number {
    return this.#superseded.lastOf(slots)
  }

  lastRemovedOf(slots: ArrayLike<number>): number {
    return this.#removed.lastOf(slots)
  }
}

class PositionTable {
  floor = 0
  /** The newest position that any slot, or all of them, were raised to. */
  newest = 0
  readonly #slots: Float64Array

  constructor(slotCount: number) {
    this.#slots = new Float64Array(slotCount)
  }

  /** Positions only rise, so that repeating or reordering invalidations cannot make anything fresh again. */
  raise(slot: number, position: number): void {
    if (position > (this.#slots[slot] as number)) this.#slots[slot] = position
    if (position > this.newest) this.newest = position
  }

  raiseFloor(position: number): void {
    if (position > this.floor) this.floor = position
    if (position > this.newest) this.newest = position
  }

  lastOf(slots: ArrayLike<number>): number {
    let last = this.floor
    for (let index = 0; index < slots.length; index++) {
      const position = this.#slots[slots[index] as number] as number
      if (position > last) last = position
    }
    return last
  }

  reset(floor: number): void {
    this.#slots.fill(0)
    this.floor = floor
    this.newest = floor
  }
}

/** A small table for what is rare; it takes no memory until it is used. */
class LesserTable {
  /** The newest position that any slot, or all of them, were raised to. */
  newest = 0
  #floor = 0
  #slots: Float64Array | undefined

  raise(slot: number, position: number): void {
    this.#slots ??= new Float64Array(lesserSlotCount)
    const lesser = slot & (lesserSlotCount - 1)
    if (position > (this.#slots[lesser] as number)) this.#slots[lesser] = position
    if (position > this.newest) this.newest = position
  }

  raiseFloor(position: number): void {
    if (position > this.#floor) this.#floor = position
    if (position > this.newest) this.newest = position
  }

  lastOf(slots: ArrayLike<number>): number {
    let last = this.#floor
    if (!this.#slots) return last
    for (let index = 0; index < slots.length; index++) {
      const position = this.#slots[(slots[index] as number) & (lesserSlotCount - 1)] as number
      if (position > last) last = position
    }
    return last
  }

  reset(floor: number): void {
    this.#slots = undefined
    this.#floor = floor
    this.newest = floor
  }
}
