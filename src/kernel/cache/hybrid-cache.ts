import { ambient } from '../ambient.js'
import type { Stamp } from '../journal/applied-journal.js'
import { currentScope } from '../persistence/transaction-scope.js'
import {
  type CacheDependencies,
  checkedLimits,
  type HybridCacheOptions,
  type Read,
  type ReadOptions,
  type SetOptions,
} from './cache-options.js'
import { assembleCache, type CacheParts } from './cache-parts.js'
import type { CacheStatistics } from './cache-statistics.js'
import { CacheEntry } from './entries/cache-entry.js'
import type { MemoryTier } from './entries/memory-tier.js'
import { checkEntryOptions, type EntryOptions, type Given, withGiven } from './entry-options.js'
import type { Factory } from './load-context.js'
import type { Answers, Asking } from './reads/answers.js'
import type { LoadMissing } from './reads/batch-loads.js'
import { ManyReads } from './reads/many-reads.js'
import { givenOf } from './values/mutation-safety.js'

const noOptions = {}

/**
 * A cache of two tiers, memory and Redis, whose every read makes one comparison: was anything that the value
 * depends on invalidated after the value's load began? Nothing else has to go right: not the order of
 * messages, not the eviction of old values, not the honesty of Redis.
 *
 * Values are frozen, as all callers share them, or copied where freezing cannot protect them. What a factory
 * returns belongs to the cache. Every option is described in `docs/hybrid-cache.md`.
 */
export class HybridCache<Value = unknown, Key extends string = string> {
  readonly name: string
  readonly statistics: CacheStatistics
  readonly #defaults: EntryOptions
  readonly #parts: CacheParts
  /** Beside the other parts, as every hit asks it. */
  readonly #memory: MemoryTier
  readonly #answers: Answers
  readonly #many: ManyReads<Key>

  /** @throws RangeError naming the option that is out of range */
  constructor(
    options: HybridCacheOptions,
    private readonly dependencies: CacheDependencies,
  ) {
    const { name, entry } = checkedLimits(options)
    this.name = name
    checkEntryOptions(entry)
    this.#defaults = entry
    this.#parts = assembleCache(options, dependencies)
    const { statistics, memory, removed, answers, entries } = this.#parts
    this.statistics = statistics
    this.#memory = memory
    this.#answers = answers
    this.#many = new ManyReads(dependencies, this.#parts, {
      freshInMemory: (key, now, chosen) => this.#freshInMemory(key, now, chosen),
      readOf: (key, factory, given) => this.#read(key, factory as Factory<Value>, given),
    })
    const { applied } = dependencies
    // What L2 holds from before this cache existed here may have been invalidated by events that no rule of its
    // own was there to read.
    applied.invalidations.invalidate(entries.cacheName, applied.position)
    // Stamps of another epoch are never fresh again; their memory is better given to what is.
    applied.onEpoch(() => memory.clear())
    applied.observe({ removed: (names) => removed.drop(names) })
  }

  /** What this node holds of the cache. `bytes` is an estimate of the values alone. */
  get inMemory(): { readonly entries: number; readonly bytes: number; readonly evictions: number } {
    const { size, bytes, evictions } = this.#memory
    return { entries: size, bytes, evictions }
  }

  /**
   * The cached value of a key, or what `factory` loads. Concurrent callers share one load, unless it began too
   * early for them. Inside a unit of work it always loads, in that transaction, and keeps nothing: what it
   * reads there may never be committed.
   *
   * @throws what `factory` throws, and what Postgres throws when a token has to be honoured
   * @throws LoadTimeoutError after a hard timeout, if nothing stale may be answered instead
   * @throws the reason of `options.signal` once it has aborted
   * @throws RangeError naming the option that is out of range, even if the read is a hit
   */
  getOrCreate<Result extends Value>(
    key: Key,
    factory: Factory<Value, Result>,
    options: ReadOptions<Result> = noOptions,
  ): Promise<Result> {
    const answer = this.#sharedAnswer(key, options) ?? this.#answer(key, factory, options)
    return answer as Promise<Result>
  }

  /** Not async, as that is one more promise in a row: with six instead of four, a read from L2 took 9 % longer. */
  #answer(key: Key, factory: Factory<Value>, options: ReadOptions<never>): Promise<unknown> {
    try {
      const { consistency, entry } = options
      if (entry) checkEntryOptions(entry)
      if (ambient()) this.#answers.asked(key, options.tags)
      const isPlain = !currentScope() && (!consistency || consistency.isUndemanding)
      return isPlain ? this.#current(key, factory, options) : this.#demanded(key, factory, options)
    } catch (error) {
      return Promise.reject(error)
    }
  }

  async #demanded(key: Key, factory: Factory<Value>, options: ReadOptions<never>): Promise<unknown> {
    if (currentScope()) return this.#parts.uncached.load(this.#read(key, factory, options))
    const { consistency } = options
    await consistency?.satisfy()
    if (!consistency?.onlyTier) return this.#current(key, factory, options)
    const result = await this.#parts.oneTier.fetch(this.#read(key, factory, options), consistency.onlyTier)
    return this.#answers.of(key, result, options)
  }

  #current(key: Key, factory: Factory<Value>, options: ReadOptions<never>): Promise<unknown> {
    const now = this.dependencies.lease.heldAt()
    const hit = this.#freshInMemory(key, now, options.entry)
    if (hit === undefined)
      return this.#parts.misses.answer(this.#read(key, factory, options), this.#parts.single)
    if (CacheEntry.isDue(hit, now as number)) this.#parts.eager.begin(this.#read(key, factory, options), hit)
    CacheEntry.share(hit)
    return Promise.resolve(this.#answers.ofHit(key, hit, options))
  }

  /**
   * The cached value of a key, from memory or L2. Nothing is loaded, and inside a unit of work nothing is found.
   *
   * @returns undefined if there is no fresh value
   * @throws what Postgres throws when this node has to find out what it has missed
   * @throws RangeError naming the option that is out of range
   */
  async get(key: Key, options: Asking = noOptions): Promise<Value | undefined> {
    this.#answers.asked(key, undefined)
    const { consistency, entry } = options
    if (entry) checkEntryOptions(entry)
    if (currentScope()) return undefined
    await consistency?.satisfy()
    const { lease } = this.dependencies
    if (!lease.holds()) await this.dependencies.renewLease()
    const hit = this.#freshInMemory(key, lease.heldAt(), entry)
    if (hit) return this.#answers.ofHit(key, hit, options) as Value
    if (!lease.holds()) return undefined
    // No load follows, so L2 may use all of the time.
    const settled = { ...this.#settled(entry), hardTimeoutMs: Number.POSITIVE_INFINITY }
    const copy = await this.#parts.tiers.copyFromShared(key, settled)
    return copy && (this.#answers.of(key, copy, options) as Value)
  }

  /**
   * The value of a key if this node's memory holds it fresh; undefined otherwise, and inside a unit of work.
   * No token is honoured: whoever has one calls `get`.
   */
  peek(key: Key): Value | undefined {
    // Usually part of nothing, and then not asked what of.
    const isPart = ambient() !== undefined
    if (isPart) {
      this.#answers.asked(key, undefined)
      if (currentScope()) return undefined
    }
    const hit = this.#freshInMemory(key, this.dependencies.lease.heldAt())
    if (hit === undefined) return undefined
    if (isPart) return this.#answers.ofHit(key, hit, noOptions) as Value
    this.#answers.noteHit(key, hit, undefined)
    return givenOf(hit.kept) as Value
  }

  /**
   * The values of any number of keys. Those that neither tier holds are loaded by `loadMissing`, one call after another, each
   * with at most 1,000 keys. A key that `loadMissing` leaves out is absent from the answer, too. Each key is stamped, joined
   * and compared like a single one.
   *
   * @throws as `getOrCreate`
   */
  getMany<Result extends Value>(
    keys: Iterable<Key>,
    loadMissing: LoadMissing<Key, Result>,
    options: ReadOptions<Result> = noOptions,
  ): Promise<Map<Key, Result>> {
    return this.#many.get(keys, loadMissing, options)
  }

  /** The position to take *before* reading a value that will be given to `set`. */
  capture(): Stamp {
    return this.dependencies.applied.stamp()
  }

  /**
   * Stores a value that was read elsewhere, on all nodes in place of what they have: this node keeps it and writes
   * it to L2, the others come for it when they are next asked.
   *
   * Without a stamp nobody can tell what the value has missed, so the key is removed instead; likewise inside a
   * unit of work, whose values may never be committed.
   *
   * @throws what Postgres throws
   * @throws RangeError if there are too many tags, or an option is out of range
   */
  set(key: Key, value: Value, options: SetOptions = noOptions): Promise<void> {
    return this.setMany([[key, value]], options)
  }

  /** As `set` for several values that were read at the same stamp. */
  async setMany(values: Iterable<readonly [Key, Value]>, options: SetOptions = noOptions): Promise<void> {
    if (options.entry) checkEntryOptions(options.entry)
    await this.#parts.writes.set(new Map(values), options, this.#settled(options.entry))
  }

  /** Resolves once the removal is committed; in a unit of work, it is part of that transaction. */
  remove(...keys: Key[]): Promise<void> {
    return this.#parts.writes.remove(keys)
  }

  /** Like `remove`, for any number of keys. Outside a unit of work, each 1,000 keys are committed by themselves. */
  removeMany(keys: Iterable<Key>): Promise<void> {
    return this.#parts.writes.remove([...keys])
  }

  /** As `remove`, but what the keys had may still be answered, marked as stale, when a load fails. */
  expire(...keys: Key[]): Promise<void> {
    return this.#parts.writes.expire(keys)
  }

  /** Like `expire`, for any number of keys. */
  expireMany(keys: Iterable<Key>): Promise<void> {
    return this.#parts.writes.expire([...keys])
  }

  /** Removes, from every cache, what carries any of the tags. */
  removeByTag(...tags: string[]): Promise<void> {
    return this.#parts.writes.byTag(tags, 'remove')
  }

  /** Expires, in every cache, what carries any of the tags. */
  expireByTag(...tags: string[]): Promise<void> {
    return this.#parts.writes.byTag(tags, 'expire')
  }

  /** Removes everything from this cache; with `keepFailSafe`, expires it. */
  clear({ keepFailSafe = false }: { readonly keepFailSafe?: boolean } = noOptions): Promise<void> {
    return this.#parts.writes.clear(keepFailSafe ? 'expire' : 'remove')
  }

  /**
   * The answer to the most frequent read: a fresh hit that asks for nothing special and is part of nothing. No promise
   * is made for it, and one clock is read, which makes it three times as fast as going through an async function.
   */
  #sharedAnswer(key: Key, { consistency, entry: chosen }: Asking): Promise<unknown> | undefined {
    if (ambient() || chosen || (consistency && !consistency.isUndemanding)) return undefined
    const now = this.dependencies.lease.heldAt()
    const hit = this.#freshInMemory(key, now)
    if (!hit || !CacheEntry.isShared(hit) || CacheEntry.isDue(hit, now as number)) return undefined
    this.#answers.noteHit(key, hit, consistency)
    return hit
  }

  /** @param now monotonic ms of a look at the lease, undefined if it does not hold */
  #freshInMemory(key: Key, now: number | undefined, chosen?: Given<EntryOptions>): CacheEntry | undefined {
    if (now === undefined || (chosen?.skipL1Read ?? this.#defaults.skipL1Read)) return undefined
    const entry = this.#memory.get(key)
    if (entry === undefined || now >= entry.freshUntil) return undefined
    return this.dependencies.applied.isFresh(entry.stamp, entry.slots) ? entry : undefined
  }

  #read(key: Key, factory: Factory<Value>, options: ReadOptions<never>): Read {
    return { key, factory, options, entry: this.#settled(options.entry) } as unknown as Read
  }

  #settled(chosen: Given<EntryOptions> | undefined): EntryOptions {
    return chosen ? withGiven(this.#defaults, chosen) : this.#defaults
  }
}
