/** Slots of the two small tables. A collision there costs a reload (expired) or a fail-safe copy (removed). */
const lesserSlotCount = 65_536

/**
 * The position of the last invalidation of each key and tag. It is a hash table of fixed size with 8 bytes a slot.
 *
 * Two names that share a slot may cost a needless reload, but never a stale answer. So the table never evicts anything.
 * Invalidating a name, removing a tag of a million entries and flushing everything each take constant time. Each process
 * has its own random seed, so that nobody can choose names that collide. (The hash is Murmur3's finaliser over a
 * multiplicative string hash; public domain, Austin Appleby.)
 *
 * There are three kinds of invalidations. A *superseded* value is older than a committed write. An *expired* value counts as
 * past its time to live. A *removed* value is superseded, and fail-safe must not use it, either.
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

  /** Every value loaded before this position is stale, whatever its key. */
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

  /** Forgets all positions, because those of another epoch mean nothing. Values older than `floor` are stale. */
  reset(floor: number): void {
    this.#superseded.reset(floor)
    this.#expired.reset(0)
    // This node does not know what was removed below the floor, and L2 may still hold copies of it.
    this.#removed.reset(floor)
  }

  /** Whether none of the slots was superseded or expired after a position. Called at every read. */
  isCurrent(position: number, slots: ArrayLike<number>): boolean {
    // A value that is newer than every invalidation needs no look-up. Each look-up of a slot misses the processor's caches.
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

/** A small table for rare invalidations. It takes no memory until it is used. */
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
