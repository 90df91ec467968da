import { LRUCache } from 'lru-cache'
import type { Stamp } from '../journal/applied-journal.js'
import type { Consistency } from '../journal/consistency.js'
import { dependencyOn } from '../journal/invalidation-rules.js'
import { currentScope } from '../persistence/transaction-scope.js'
import type { CacheEntry } from './cache-entry.js'
import { CacheInvalidated } from './cache-invalidated.js'
import type { CacheSurroundings, Factory, HybridCacheOptions, ReadOptions } from './cache-options.js'
import { deepFreeze } from './deep-freeze.js'
import { Flights, type Landing } from './flights.js'
import { dependOuterLoadOn, LoadScope, runLoad } from './load-scope.js'

/** A tier was asked for alone, and has no fresh value. */
export class NotInTierError extends Error {
  override readonly name = 'NotInTierError'
  constructor(readonly tier: string) {
    super(`There is no fresh value in ${tier}`)
  }
}

/** How many tags one entry may declare: each costs a comparison at every read. */
export const maximumTags = 64

/** How many names, with those of cached reads inside its load, an entry may have to be kept. */
const maximumNames = 512

/**
 * A cache of two tiers, memory and Redis, whose every read makes one comparison: was anything that the value
 * depends on invalidated after the value's load began? Nothing else has to go right: not the order of
 * messages, not the eviction of old values, not the honesty of Redis.
 *
 * Values are frozen, as all callers share them.
 */
export class HybridCache {
  readonly name: string
  readonly statistics = { l1Hits: 0, l2Hits: 0, misses: 0, bypasses: 0, fenced: 0 }
  readonly #memory: LRUCache<string, CacheEntry>
  readonly #flights: Flights
  readonly #options: HybridCacheOptions
  readonly #sharedName: string

  constructor(
    options: HybridCacheOptions,
    private readonly around: CacheSurroundings,
  ) {
    this.name = options.name
    this.#options = options
    this.#sharedName = `${options.name}.${options.declaration}`
    this.#flights = new Flights(around.applied, around.lease, (key) => this.#ownSlots(key))
    this.#memory = new LRUCache({ max: options.maxEntries, ttl: options.l1TtlMs })
    // Stamps of another epoch are never fresh again; their memory is better given to what is.
    around.applied.onEpoch(() => this.#memory.clear())
  }

  /**
   * The cached value of a key, or what `factory` loads. Concurrent callers share one load, unless it began too
   * early for them. Inside a unit of work it always loads, in that transaction, and keeps nothing: what it
   * reads there may never be committed.
   *
   * @throws what `factory` throws, and what Postgres throws when a token has to be honoured
   */
  async getOrCreate<Value>(
    key: string,
    factory: Factory<Value>,
    options: ReadOptions<Value> = {},
  ): Promise<Value> {
    const { consistency } = options
    if (currentScope()) return this.#loadInTransaction(factory, consistency)
    const satisfying = consistency?.satisfy()
    if (satisfying) await satisfying
    if (consistency?.onlyTier) return this.#readOneTier(key, factory, options)
    if (!this.around.lease.holds()) {
      await this.around.renewLease()
      if (!this.around.lease.holds()) return this.#bypass(key, factory, options)
    }
    const entry = this.#memory.get(key)
    if (entry !== undefined && this.around.applied.isFresh(entry.stamp, entry.slots)) {
      this.statistics.l1Hits++
      return this.#answer(entry, 'l1', consistency) as Value
    }
    const { entry: fetched, source } = await this.#flights.fetch(
      key,
      consistency?.requiredPosition ?? 0,
      () => this.#fly(key, factory as Factory<unknown>, options as ReadOptions<unknown>),
    )
    if (source === 'l2') this.statistics.l2Hits++
    else this.statistics.misses++
    return this.#answer(fetched, source, consistency) as Value
  }

  /** The position to take *before* reading a value that will be given to `set`. */
  capture(): Stamp {
    return this.around.applied.stamp()
  }

  /**
   * Stores a value that was read elsewhere.
   *
   * @param stamp taken by `capture` before the value was read. Without it nobody can tell what the value has
   *   missed, so the key is removed instead; likewise inside a unit of work, whose values may never be committed
   */
  async set(
    key: string,
    value: unknown,
    options: { stamp?: Stamp; tags?: readonly string[] } = {},
  ): Promise<void> {
    if (!options.stamp || currentScope() || !this.#mayKeep(value)) return this.remove(key)
    const { tags = [] } = options
    if (tags.length > maximumTags) throw tooManyTags(this.name, key)
    const entry = this.#entry(key, value, options.stamp, tags.map(dependencyOn.tag))
    this.#store(key, entry)
  }

  /** Resolves once the removal is committed; in a unit of work, it is part of that transaction. */
  remove(...keys: string[]): Promise<void> {
    return this.around.outbox.write([new CacheInvalidated({ cache: this.name, keys })])
  }

  /** Removes, from every cache, what carries any of the tags. */
  removeByTag(...tags: string[]): Promise<void> {
    return this.around.outbox.write([new CacheInvalidated({ cache: this.name, tags })])
  }

  /** Removes what the keys have now; the same as `remove`, as nothing of an expired value is kept. */
  expire(...keys: string[]): Promise<void> {
    return this.remove(...keys)
  }

  /** Removes everything from this cache. */
  clear(): Promise<void> {
    return this.around.outbox.write([new CacheInvalidated({ cache: this.name, all: true })])
  }

  #answer(
    entry: CacheEntry,
    source: 'l1' | 'l2' | 'miss' | 'bypass',
    consistency: Consistency | undefined,
  ): unknown {
    consistency?.answered(source, entry.obtainedAt)
    dependOuterLoadOn(entry.names)
    return entry.value
  }

  async #fly(key: string, factory: Factory<unknown>, options: ReadOptions<unknown>): Promise<Landing> {
    const copy = await this.#copyFromShared(key)
    if (copy) return { entry: copy, source: 'l2' }
    return { entry: await this.#loadAndStore(key, factory, options), source: 'miss' }
  }

  async #copyFromShared(key: string): Promise<CacheEntry | undefined> {
    const { applied, shared, faults } = this.around
    const { epoch } = applied
    const found = await shared.get({ epoch, cache: this.#sharedName, key })
    if (!found) return undefined
    const entry = this.#entry(key, found.value, { epoch, position: found.position }, found.names)
    if (!applied.isFresh(entry.stamp, entry.slots)) {
      this.statistics.fenced++
      return undefined
    }
    await faults.at('before-l2-copy')
    this.#memory.set(key, entry)
    return entry
  }

  /** Stamps the value with what was applied before its first statement, so that it can hide no later write. */
  async #load(key: string, factory: Factory<unknown>, options: ReadOptions<unknown>): Promise<CacheEntry> {
    const { applied, faults } = this.around
    const stamp = applied.stamp()
    await faults.at('before-load')
    const scope = new LoadScope()
    const value = await runLoad(scope, () =>
      factory({ tag: (...tags) => scope.add(tags.map(dependencyOn.tag)) }),
    )
    await faults.at('after-load-read')
    const tags = [...(options.tags ?? []), ...(options.tagsOf?.(value) ?? [])]
    if (tags.length > maximumTags) throw tooManyTags(this.name, key)
    scope.add(tags.map(dependencyOn.tag))
    return this.#entry(key, value, stamp, [...scope.names])
  }

  async #loadAndStore(
    key: string,
    factory: Factory<unknown>,
    options: ReadOptions<unknown>,
  ): Promise<CacheEntry> {
    const entry = await this.#load(key, factory, options)
    await this.around.faults.at('before-store')
    if (this.#mayKeep(entry.value)) this.#store(key, entry)
    return entry
  }

  /** Without an event that creates, nothing would tell that an absent thing now exists. */
  #mayKeep(value: unknown): boolean {
    return this.#options.cacheAbsent || (value !== null && value !== undefined)
  }

  #store(key: string, entry: CacheEntry): void {
    const { applied, shared } = this.around
    // A value made of very many others is loaded each time rather than compared for as long as it lives.
    if (entry.names.length > maximumNames) return
    if (!applied.isFresh(entry.stamp, entry.slots)) {
      // Nobody would be served it; storing it could only push out what somebody would be.
      this.statistics.fenced++
      return
    }
    this.#memory.set(key, entry)
    const { value, stamp, names } = entry
    shared.set(
      { epoch: stamp.epoch, cache: this.#sharedName, key },
      { value, position: stamp.position, names },
      this.#options.l2TtlMs,
    )
  }

  async #loadInTransaction<Value>(
    factory: Factory<Value>,
    consistency: Consistency | undefined,
  ): Promise<Value> {
    this.statistics.bypasses++
    const value = await runLoad(new LoadScope(), () => factory({ tag: () => {} }))
    consistency?.answered('bypass', Number.POSITIVE_INFINITY)
    return value
  }

  /** Without a lease nobody can say what this node has missed, so every caller reads the database for itself. */
  async #bypass<Value>(key: string, factory: Factory<Value>, options: ReadOptions<Value>): Promise<Value> {
    this.statistics.bypasses++
    const entry = await this.#loadAndStore(key, factory as Factory<unknown>, options as ReadOptions<unknown>)
    return this.#answer(entry, 'bypass', options.consistency) as Value
  }

  async #readOneTier<Value>(
    key: string,
    factory: Factory<Value>,
    options: ReadOptions<Value>,
  ): Promise<Value> {
    const { applied, shared, lease } = this.around
    const { consistency } = options
    if (consistency?.onlyTier === 'database') {
      const loaded = await this.#load(key, factory as Factory<unknown>, options as ReadOptions<unknown>)
      return this.#answer(loaded, 'bypass', consistency) as Value
    }
    let entry: CacheEntry | undefined
    if (consistency?.onlyTier === 'l1') entry = this.#memory.get(key)
    else {
      const { epoch } = applied
      const found = await shared.get({ epoch, cache: this.#sharedName, key })
      if (found) entry = this.#entry(key, found.value, { epoch, position: found.position }, found.names)
    }
    if (!entry || !lease.holds() || !applied.isFresh(entry.stamp, entry.slots)) {
      throw new NotInTierError(consistency?.onlyTier ?? '')
    }
    return this.#answer(entry, consistency?.onlyTier === 'l1' ? 'l1' : 'l2', consistency) as Value
  }

  #entry(key: string, value: unknown, stamp: Stamp, names: readonly string[]): CacheEntry {
    const own = [dependencyOn.key(this.name, key), dependencyOn.cache(this.name)]
    const all = [...new Set([...own, ...names])]
    const { invalidations } = this.around.applied
    return {
      value: deepFreeze(value),
      stamp,
      names: all,
      slots: all.map((name) => invalidations.slotOf(name)),
      obtainedAt: this.around.clock.now(),
    }
  }

  #ownSlots(key: string): readonly number[] {
    const { invalidations } = this.around.applied
    return [
      invalidations.slotOf(dependencyOn.key(this.name, key)),
      invalidations.slotOf(dependencyOn.cache(this.name)),
    ]
  }
}

function tooManyTags(cache: string, key: string): RangeError {
  return new RangeError(`${cache}: more than ${maximumTags} tags on "${key}"`)
}
