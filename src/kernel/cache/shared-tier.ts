/** What L2 keeps of an entry. */
export interface SharedEntry {
  readonly value: unknown
  readonly position: number
  readonly names: readonly string[]
}

/** Names one entry in L2. Entries of another epoch or another declaration of the query are other entries. */
export interface SharedKey {
  readonly epoch: string
  /** Name of the cache with a hash of its declaration. */
  readonly cache: string
  readonly key: string
}

/**
 * L2. Untrusted: whatever it says is compared like any other copy, and it may forget, lag, or travel back in
 * time. Never throws and never waits for long: no answer is a miss.
 */
export interface SharedTier {
  get(key: SharedKey): Promise<SharedEntry | undefined>
  /** @param ttlMs milliseconds until L2 forgets it by itself; at least 1 */
  set(key: SharedKey, entry: SharedEntry, ttlMs: number): void
}

/** Where there is no Redis. */
export const noSharedTier: SharedTier = {
  get: () => Promise.resolve(undefined),
  set: () => {},
}
