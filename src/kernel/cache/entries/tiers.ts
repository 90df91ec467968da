import { isText } from '../../journal/invalidation-rules.js'
import type { NotStoredReason } from '../cache-events.js'
import type { CacheDependencies, HybridCacheOptions } from '../cache-options.js'
import type { CacheStatistics } from '../cache-statistics.js'
import type { EntryOptions } from '../entry-options.js'
import { waitFor } from '../reads/patience.js'
import type { ReadResult } from '../reads/single-flight.js'
import type { SharedEntry, SharedKey } from '../shared/shared-tier.js'
import { CacheEntry } from './cache-entry.js'
import { type Copy, displaces, isOlder, use } from './displacement.js'
import type { Entries } from './entries.js'
import { maximumNames } from './few-names.js'
import type { MemoryTier } from './memory-tier.js'

export type Storable = readonly [key: string, entry: CacheEntry, options: EntryOptions]

/** What goes into the tiers of one cache, and what comes up from L2 into memory: only what is fresh. */
export class Tiers {
  readonly #sharedName: string

  constructor(
    private readonly cache: HybridCacheOptions,
    private readonly dependencies: CacheDependencies,
    private readonly entries: Entries,
    private readonly memory: MemoryTier,
    private readonly statistics: CacheStatistics,
  ) {
    this.#sharedName = `${cache.name}.${cache.declaration}`
  }

  sharedKey(key: string): SharedKey {
    return { epoch: this.dependencies.applied.epoch, cache: this.#sharedName, key }
  }

  /** Why nothing is kept under a key; undefined if it may be. */
  refusalOf(key: string): 'key-too-long' | 'key-not-text' | undefined {
    if (key.length > this.cache.maxKeyLength) return 'key-too-long'
    // Postgres cannot carry it, so that nobody could remove it; and in UTF-8 two of them may be the same.
    return isText(key) ? undefined : 'key-not-text'
  }

  /** What memory holds of a key, if it is fresh. */
  inMemory(key: string, { skipL1Read }: EntryOptions): ReadResult | undefined {
    const entry = skipL1Read ? undefined : this.memory.get(key)
    return entry && this.isServable(entry) ? { entry, source: 'l1' } : undefined
  }

  /**
   * A fresh copy of what L2 holds. After the time that the options give it, L2 is taken to hold nothing; a copy
   * that comes later is kept all the same, if it is still fresh then.
   *
   * @param atMostMs if the caller has less time than the options give L2
   */
  copyFromShared(
    key: string,
    options: EntryOptions,
    atMostMs = Number.POSITIVE_INFINITY,
  ): Promise<ReadResult | undefined> {
    if (atMostMs <= 0 || options.skipL2Read || this.refusalOf(key)) return Promise.resolve(undefined)
    return this.inTime(this.#fetchCopy(key, options), Math.min(this.patienceMs(key, options), atMostMs))
  }

  /** As `copyFromShared` for several keys, in their order, with one round trip. */
  async copyManyFromShared(
    keys: readonly string[],
    options: EntryOptions,
  ): Promise<readonly (ReadResult | undefined)[]> {
    if (options.skipL2Read) return []
    const patienceMs = Math.max(...keys.map((key) => this.patienceMs(key, options)))
    return (await this.inTime(this.#fetchCopies(keys, options), patienceMs)) ?? []
  }

  /** What L2 holds of a key, if it is fresh; nothing is kept. */
  async inShared(key: string, options: EntryOptions): Promise<ReadResult | undefined> {
    const shared = this.sharedKey(key)
    const found = await this.dependencies.shared.get(shared)
    const entry = found && this.entries.fromShared(key, found, shared.epoch, options)
    return entry && this.isServable(entry) ? { entry, source: 'l2' } : undefined
  }

  isServable(entry: CacheEntry): boolean {
    const { applied, clock } = this.dependencies
    return clock.now() < entry.freshUntil && applied.isFresh(entry.stamp, entry.slots)
  }

  /** Keeps what was loaded in both tiers, as far as options and fence let it; with one round trip to L2. */
  async storeLoaded(loaded: readonly Storable[]): Promise<void> {
    await this.dependencies.faults.at('before-store')
    this.store(loaded, 'load')
  }

  store(storable: readonly Storable[], from: 'load' | 'set'): void {
    const { shared } = this.dependencies
    const toShare = storable
      .map(([key, entry, options]) => this.#keep(key, entry, options, from))
      .filter((one) => one !== undefined)
    const [first] = toShare
    if (toShare.length === 1 && first) shared.set(first.key, first.entry, first.ttlMs)
    else if (toShare.length > 1) shared.setMany(toShare)
  }

  #keep(
    key: string,
    entry: CacheEntry,
    options: EntryOptions,
    from: 'load' | 'set',
  ): { key: SharedKey; entry: SharedEntry; ttlMs: number } | undefined {
    const { applied, clusterClock } = this.dependencies
    // What L2 is to know of it is said below, or never.
    const life = CacheEntry.takeLife(entry)
    const refusal = this.refusalOf(key)
    if (refusal) return this.#notStored(key, 'l1', refusal)
    // A value that still has too many names is loaded each time. To compare them at every read would cost more.
    if (entry.names.length > maximumNames) {
      this.overtaken(key, entry)
      return this.#notStored(key, 'l1', 'too-many-names')
    }
    if (!applied.isFresh(entry.stamp, entry.slots)) {
      // Nobody would be served it; storing it could only push out what somebody would be.
      this.fenced(key, from)
      // Where fail-safe may answer invalidated values, this is the newest one.
      if (options.failSafe && !options.skipL1Write) this.#rememberForFailSafe(key, entry)
      return undefined
    }
    if (options.skipL1Write && options.skipL2Write) this.overtaken(key, entry)
    else if (options.skipL1Write) this.#dropOvertaken(key, entry)
    else if (!this.#remember(key, entry)) this.#notStored(key, 'l1', 'too-large')
    if (options.skipL2Write || !life) return undefined
    const ttlMs = Math.max(1, life.usableUntil - clusterClock.now())
    return {
      key: { ...this.sharedKey(key), epoch: entry.stamp.epoch },
      entry: this.entries.toShared(entry, life),
      ttlMs,
    }
  }

  /**
   * Keeps an entry in memory unless the present one is to be preferred (see `displaces`).
   *
   * @returns false if the value is too large for memory
   */
  #remember(key: string, entry: CacheEntry): boolean {
    const present = this.memory.get(key)
    if (present && !displaces(this.#copyOf(entry), this.#copyOf(present))) return true
    return this.memory.keep(key, entry)
  }

  #rememberForFailSafe(key: string, entry: CacheEntry): void {
    if (this.#copyOf(entry).use > use.none) this.#remember(key, entry)
  }

  #copyOf({ stamp, slots, loadedAt, freshUntil, usableUntil }: CacheEntry): Copy {
    const { applied, clock } = this.dependencies
    const standing = applied.standingOf(stamp, slots)
    const now = clock.now()
    const copy = { stamp, loadedAt, freshUntil }
    if (standing === 'fresh' && now < freshUntil) return { ...copy, use: use.fresh }
    if (standing === 'removed' || now >= usableUntil) return { ...copy, use: use.none }
    return { ...copy, use: standing === 'invalidated' ? use.invalidated : use.expired }
  }

  /**
   * To be called after a load whose value is not kept. A copy that was kept for fail-safe is dropped: it is older than the value
   * just answered, so answering it later would take the reader back in time.
   */
  overtaken(key: string, entry: CacheEntry): void {
    // If memory holds no stale copy, L2 had none a moment ago: the read that led to this load would have copied it.
    if (this.#dropOvertaken(key, entry)) this.dependencies.shared.forget([this.sharedKey(key)])
  }

  /** @returns whether memory held an older, stale copy */
  #dropOvertaken(key: string, entry: CacheEntry): boolean {
    const present = this.memory.get(key)
    if (!present || this.isServable(present) || isOlder(entry, present)) return false
    this.memory.delete(key)
    return true
  }

  fenced(key: string, from: 'l2' | 'load' | 'set'): void {
    this.statistics.fenced++
    const { events } = this.dependencies
    if (events.wants('fenced')) events.emit('fenced', { cache: this.cache.name, key, from })
  }

  #fetchCopy(key: string, options: EntryOptions): Promise<ReadResult | undefined> {
    const shared = this.sharedKey(key)
    return this.dependencies.shared
      .get(shared)
      .then((found) => found && this.#adopt(key, found, shared.epoch, options))
  }

  async #fetchCopies(
    keys: readonly string[],
    options: EntryOptions,
  ): Promise<readonly (ReadResult | undefined)[]> {
    const { epoch } = this.dependencies.applied
    const allowed = keys.filter((key) => !this.refusalOf(key))
    const found = await this.dependencies.shared.getMany(allowed.map((key) => this.sharedKey(key)))
    const copies = new Map<string, ReturnType<Tiers['inMemory']> | Promise<ReadResult>>()
    for (const [index, key] of allowed.entries()) {
      const entry = found[index]
      if (entry) copies.set(key, this.#adopt(key, entry, epoch, options))
    }
    return Promise.all(keys.map((key) => copies.get(key)))
  }

  #adopt(
    key: string,
    found: SharedEntry,
    epoch: string,
    options: EntryOptions,
  ): ReadResult | undefined | Promise<ReadResult> {
    const { applied, faults } = this.dependencies
    const entry = this.entries.fromShared(key, found, epoch, options)
    if (!this.isServable(entry)) {
      if (!applied.isFresh(entry.stamp, entry.slots)) this.fenced(key, 'l2')
      // Should the load that follows fail, this is what there is to fall back on. Nobody was answered it, so if it is too large
      // for memory, the older copy there stays.
      if ((entry.lasting?.failSafe ?? options.failSafe) && this.memory.fits(key, entry))
        this.#rememberForFailSafe(key, entry)
      return undefined
    }
    // This node has already held a newer value, which L2 never got or has lost. With the older copy its readers would go back in
    // time.
    const present = this.memory.get(key)
    if (present && isOlder(entry, present)) return undefined
    const held = faults.at('before-l2-copy')
    return held ? held.then(() => this.#keepCopy(key, entry, options)) : this.#keepCopy(key, entry, options)
  }

  #keepCopy(key: string, entry: CacheEntry, options: EntryOptions): ReadResult {
    if (!(entry.lasting?.skipL1Write ?? options.skipL1Write)) this.#remember(key, entry)
    return { entry, source: 'l2' }
  }

  /** Milliseconds that a read of this key waits for L2. Half of the read's time is left to the load. */
  patienceMs(key: string, options: EntryOptions): number {
    const { failSafe, l2SoftTimeoutMs, l2HardTimeoutMs, hardTimeoutMs } = options
    const atMost = Math.min(l2HardTimeoutMs, hardTimeoutMs / 2)
    const present = this.memory.get(key)
    const canFallBack = present !== undefined && (present.lasting?.failSafe ?? failSafe)
    return canFallBack ? Math.min(l2SoftTimeoutMs, atMost) : atMost
  }

  /** What L2 answers within these milliseconds; what comes later goes on without its caller. */
  inTime<Result>(arriving: Promise<Result>, patienceMs: number): Promise<Result | undefined> {
    // The tier gives up by itself before that: a timer for each read would cost more than the read.
    return patienceMs >= this.dependencies.shared.timeoutMs ? arriving : this.#within(arriving, patienceMs)
  }

  async #within<Result>(arriving: Promise<Result>, patienceMs: number): Promise<Result | undefined> {
    const nothing = Symbol('nothing')
    const answer = await waitFor<Result | typeof nothing>(
      arriving,
      {
        softMs: patienceMs,
        hardMs: Number.POSITIVE_INFINITY,
        instead: () => nothing,
        tooLate: () => new Error('never: the hard time is endless'),
      },
      this.dependencies.clock,
    )
    return answer === nothing ? undefined : (answer as Result)
  }

  #notStored(key: string, tier: 'l1' | 'l2', reason: NotStoredReason): undefined {
    const { events } = this.dependencies
    if (events.wants('notStored')) events.emit('notStored', { cache: this.cache.name, key, tier, reason })
  }
}
