import { getHeapStatistics } from 'node:v8'

/** A cache that holds memory and can free some of it. */
export interface MemoryHolder {
  readonly heldBytes: number
  /** Evicts one entry. Must not be called while it holds none. */
  giveUpOne(): void
}

/** The least that is worth having, and the share of the heap that leaves enough memory for requests. */
const leastBytes = 8 * 1_048_576
const shareOfHeap = 1 / 4

/** The default limit for all caches of a node together, in bytes: a quarter of V8's heap limit, at least 8 MiB. */
export function defaultTotalBytes(): number {
  return Math.max(leastBytes, Math.floor(getHeapStatistics().heap_size_limit * shareOfHeap))
}

/**
 * The memory that all caches of a node share. When it is used up, the largest cache evicts entries. So a cache that a client
 * fills with ever new keys evicts its own entries as soon as it is the largest, and not those of others.
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

  /** @param bytes by how much the held bytes grow; negative if they shrink */
  count(bytes: number): void {
    this.#heldBytes += bytes
  }

  hasRoomFor(bytes: number): boolean {
    return this.#heldBytes + bytes <= this.maxBytes
  }

  /** Has the largest cache evict one entry. Must be called only while something is held. */
  giveUpOne(): void {
    let [largest] = this.#holders
    for (const holder of this.#holders) {
      if (largest === undefined || holder.heldBytes > largest.heldBytes) largest = holder
    }
    largest?.giveUpOne()
  }
}
