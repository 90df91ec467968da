import { getHeapStatistics } from 'node:v8'

/** Bytes of memory that some cache holds, and can give up. */
export interface MemoryHolder {
  readonly heldBytes: number
  /** Gives up one entry. Not to be asked of one that holds nothing. */
  giveUpOne(): void
}

/** The smallest room that is of use, and a share of the heap that leaves what requests need to the requests. */
const leastBytes = 8 * 1_048_576
const shareOfHeap = 1 / 4

/** What the caches of a node may hold if nobody says otherwise: a quarter of the heap that V8 is allowed. */
export function defaultTotalBytes(): number {
  return Math.max(leastBytes, Math.floor(getHeapStatistics().heap_size_limit * shareOfHeap))
}

/**
 * The room in memory that all caches of a node share. Where there is none left, the cache that holds most gives some up:
 * one that a client fills with ever new keys takes from itself, as soon as it is the largest.
 */
export class MemoryBudget {
  readonly #holders: MemoryHolder[] = []
  #heldBytes = 0

  constructor(readonly maxBytes = Number.POSITIVE_INFINITY) {}

  get heldBytes(): number {
    return this.#heldBytes
  }

  join(holder: MemoryHolder): void {
    this.#holders.push(holder)
  }

  /** @param bytes more than before, or less if below 0 */
  count(bytes: number): void {
    this.#heldBytes += bytes
  }

  hasRoomFor(bytes: number): boolean {
    return this.#heldBytes + bytes <= this.maxBytes
  }

  /** To be asked only while something is held. */
  giveUpOne(): void {
    let [largest] = this.#holders
    for (const holder of this.#holders) {
      if (largest === undefined || holder.heldBytes > largest.heldBytes) largest = holder
    }
    largest?.giveUpOne()
  }
}
