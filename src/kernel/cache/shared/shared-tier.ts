import type { LastingOptions } from '../entry-options.js'

/** What L2 keeps of an entry. Times are in ms of the cluster's clock (`journal/cluster-clock.ts`). */
export interface SharedEntry {
  readonly value: unknown
  /** Where the load of the value began. */
  readonly position: number
  /** What the value depends on beside its own key and cache. */
  readonly names: readonly string[]
  readonly loadedAt: number
  /** The end of its life as a fresh value. */
  readonly freshUntil: number
  /** The end of its life as a fail-safe value; not before `freshUntil`. */
  readonly usableUntil: number
  /** Milliseconds that a node may serve its copy before it looks here again. */
  readonly l1TtlMs: number
  /** What the origin said of this version of the value, for conditional refreshes. */
  readonly etag?: string | undefined
  readonly lastModified?: string | undefined
  readonly lasting?: LastingOptions | undefined
  /** Whether JSON is known to bring the value back as it is. This flag is not written to L2. */
  readonly isJson?: boolean | undefined
}

/** Names one entry in L2. Entries of another epoch or another declaration of the cache are other entries. */
export interface SharedKey {
  readonly epoch: string
  /** Name of the cache with a hash of its declaration. */
  readonly cache: string
  readonly key: string
}

/** What came of an attempt to be the one node that loads. */
export type LoadLock =
  | {
      readonly held: true
      /** Another node has just loaded the key, and since late enough for the caller: L2 is worth another look. */
      readonly loadedMeanwhile: boolean
      /**
       * Never throws and is not waited for.
       *
       * @param loaded whether the holder has stored what it has loaded before this call, or found it in L2
       */
      release(loaded: boolean): void
    }
  | { readonly held: false }

/**
 * L2. Untrusted: whatever it says is compared like any other copy, and it may forget, lag, or travel back in
 * time. Never throws and never waits for long: no answer is a miss.
 */
export interface SharedTier {
  /** Milliseconds after which a read is given up by the tier itself. */
  readonly timeoutMs: number
  get(key: SharedKey): Promise<SharedEntry | undefined>
  /** In the order of the keys, with one round trip. */
  getMany(keys: readonly SharedKey[]): Promise<readonly (SharedEntry | undefined)[]>
  /**
   * Not waited for.
   *
   * @param ttlMs milliseconds until L2 forgets it by itself; at least 1
   */
  set(key: SharedKey, entry: SharedEntry, ttlMs: number): void
  /** As `set`, with one round trip. */
  setMany(entries: readonly { key: SharedKey; entry: SharedEntry; ttlMs: number }[]): void
  /** Frees memory. Nothing relies on it: what was removed is stale by its position. Not waited for. */
  forget(keys: readonly SharedKey[]): void
  /**
   * Tries to become the one node that loads a key. Only ever saves work: where it cannot be had because L2 does
   * not answer, it counts as held.
   *
   * @param position where the caller's load begins
   * @param required a holder whose load began before this position loads a value that the caller could not
   *   use, and loses the lock to the caller
   * @param ttlMs milliseconds after which the lock of a holder that died is free
   */
  lock(key: SharedKey, position: number, required: number, ttlMs: number): Promise<LoadLock>
}

/** What is taken where no lock can be had: it counts as held, and keeps nobody else from loading. */
export const lockOfNobody: LoadLock = { held: true, loadedMeanwhile: false, release: () => {} }

/** Where there is no Redis. */
export const noSharedTier: SharedTier = {
  timeoutMs: 0,
  get: () => Promise.resolve(undefined),
  getMany: (keys) => Promise.resolve(keys.map(() => undefined)),
  set: () => {},
  setMany: () => {},
  forget: () => {},
  lock: () => Promise.resolve(lockOfNobody),
}
