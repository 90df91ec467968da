import { assertTag, dependencyOn, isOfKey } from '../../journal/invalidation-rules.js'
import type { Staleness } from '../cache-events.js'
import type { CacheDependencies, HybridCacheOptions, Read } from '../cache-options.js'
import type { CacheStatistics } from '../cache-statistics.js'
import type { CacheEntry } from '../entries/cache-entry.js'
import type { Entries } from '../entries/entries.js'
import { fewNames } from '../entries/few-names.js'
import type { MemoryTier } from '../entries/memory-tier.js'
import { UnkeptValues } from '../entries/unkept-values.js'
import type { EntryOptions } from '../entry-options.js'
import { RunningLoad } from '../load-context.js'
import { givenOf } from '../values/mutation-safety.js'
import { LoadScope, runLoad, scopeOfLoad } from './load-scope.js'

/** How many tags one entry may declare: each costs a comparison at every read. */
export const maximumTags = 64

/** A value that was loaded, and whether it may be kept. */
export interface Loaded {
  readonly entry: CacheEntry
  readonly options: EntryOptions
  readonly storable: boolean
  readonly staleness: Staleness | undefined
}

/** Whoever waits, or does not, for a load. */
export interface LoadWaiters {
  readonly signal: AbortSignal
  readonly awaited: boolean
  /** The factory is about to be called. */
  loadBegins(load: LoadScope): void
}

/** Runs factories, and makes entries of what they return. */
export class Loader {
  readonly #unkept: UnkeptValues

  constructor(
    private readonly cache: HybridCacheOptions,
    private readonly dependencies: CacheDependencies,
    private readonly entries: Entries,
    private readonly memory: MemoryTier,
    private readonly statistics: CacheStatistics,
  ) {
    this.#unkept = new UnkeptValues(cache.name, dependencies.events, statistics)
  }

  /**
   * Stamps the value with what was applied before its first statement, so that it can hide no later write.
   *
   * @throws what the factory throws, or the reason of `waiters.signal`
   * @throws TypeError if a tag is not text that an event can carry
   * @throws CyclicLoadError if it was asked for inside a load of the same key
   */
  async load(read: Read, waiters: LoadWaiters, eager = false): Promise<Loaded> {
    const { key, factory, options } = read
    options.tags?.forEach(assertTag)
    const { applied, faults } = this.dependencies
    const stamp = applied.stamp()
    await faults.at('before-load')
    // All callers may have left while this node waited for L2 or for another node.
    waiters.signal.throwIfAborted()
    const scope = scopeOfLoad({ cache: this.cache.name, keys: [key] })
    waiters.loadBegins(scope)
    const load = new RunningLoad(key, waiters.signal, read.entry, scope, this.#previous(key))
    const value = await this.#timed([key], waiters, eager, async () => {
      const loaded = await runLoad(scope, () => factory(load))
      this.#addTags(key, scope, [...(options.tags ?? []), ...load.tags, ...(options.tagsOf?.(loaded) ?? [])])
      return loaded
    })
    await faults.at('after-load-read')
    const entry = this.entries.fromLoad(key, {
      // Not what the factory was shown, which it may have changed.
      value: load.renewed ? givenOf(load.renewed.kept) : value,
      stamp,
      names: fewNames(scope.names),
      options: load.adapted,
      decided: load.decided,
      validators: load.given,
      before: this.memory.peek(key),
    })
    return {
      entry,
      options: load.adapted,
      // Made from something stale, a value would be served unmarked from here.
      storable:
        load.stored && scope.staleness === undefined && this.mayKeep(value) && this.isKeepable(key, entry),
      staleness: scope.staleness,
    }
  }

  /**
   * One call of a factory for several keys, all stamped alike. What one value depends on by cached reads inside,
   * all do: nobody can tell them apart.
   *
   * @throws what `loadMissing` throws, or the reason of `waiters.signal`
   * @throws CyclicLoadError if it was asked for inside a load of the same keys
   */
  async loadMany<Key extends string, Value>(
    reads: readonly Read[],
    loadMissing: (missing: readonly Key[], signal: AbortSignal) => Promise<ReadonlyMap<Key, Value>>,
    waiters: LoadWaiters,
    eager = false,
  ): Promise<readonly Loaded[]> {
    const { applied, faults } = this.dependencies
    const stamp = applied.stamp()
    await faults.at('before-load')
    waiters.signal.throwIfAborted()
    const keys = reads.map(({ key }) => key as Key)
    const scope = scopeOfLoad({ cache: this.cache.name, keys })
    waiters.loadBegins(scope)
    const values = await this.#timed(keys, waiters, eager, () =>
      runLoad(scope, () => loadMissing(keys, waiters.signal)),
    )
    await faults.at('after-load-read')
    return reads.map(({ key, options, entry: entryOptions }) => {
      const value: unknown = values.get(key as Key)
      const own = new LoadScope()
      own.add(scope.names)
      // For a key that `loadMissing` left out there is no value to take tags from.
      const following = values.has(key as Key) ? options.tagsOf?.(value as never) : undefined
      this.#addTags(key, own, [...(options.tags ?? []), ...(following ?? [])])
      const entry = this.entries.fromLoad(key, {
        value,
        stamp,
        names: fewNames(own.names),
        options: entryOptions,
        decided: {},
        validators: {},
        before: this.memory.peek(key),
      })
      return {
        entry,
        options: entryOptions,
        storable: scope.staleness === undefined && this.mayKeep(value) && this.isKeepable(key, entry),
        staleness: scope.staleness,
      }
    })
  }

  /** Without an event that creates, nothing would tell that an absent thing now exists. */
  mayKeep(value: unknown): boolean {
    return this.cache.cacheAbsent || (value !== null && value !== undefined)
  }

  /** Whether all of a value is data. If not, that is reported. */
  isKeepable(key: string, { keepable, kept }: CacheEntry): boolean {
    if (!keepable) this.#unkept.report(key, kept)
    return keepable
  }

  /** @throws RangeError if there are too many */
  #addTags(key: string, scope: LoadScope, tags: readonly string[]): void {
    assertFewTags(this.cache.name, key, tags)
    scope.add(tags.map(dependencyOn.tag))
  }

  /**
   * A stale value counts, too, because its origin may confirm that it still holds. A value that was removed does not count, nor
   * does one made from cached values that have changed since, because the origin knows nothing of those.
   */
  #previous(key: string): CacheEntry | undefined {
    const entry = this.memory.get(key)
    if (!entry) return undefined
    const { applied } = this.dependencies
    if (applied.standingOf(entry.stamp, entry.slots) === 'removed') return undefined
    const hasChanged =
      entry.names.some(isOfKey) && !applied.isFresh(entry.stamp, this.entries.slotsOfNames(entry))
    return hasChanged ? undefined : entry
  }

  async #timed<Result>(
    keys: readonly string[],
    waiters: LoadWaiters,
    eager: boolean,
    run: () => Promise<Result>,
  ): Promise<Result> {
    const { events, clock } = this.dependencies
    const cache = this.cache.name
    const startedAt = clock.now()
    this.statistics.loads++
    try {
      const result = await run()
      if (events.wants('loaded')) {
        const durationMs = clock.now() - startedAt
        for (const key of keys) events.emit('loaded', { cache, key, durationMs, eager })
      }
      return result
    } catch (error) {
      this.statistics.loadFailures++
      if (events.wants('loadFailed')) {
        const background = !waiters.awaited
        for (const key of keys) events.emit('loadFailed', { cache, key, error, background })
      }
      throw error
    }
  }
}

/** @throws RangeError if there are too many */
export function assertFewTags(cache: string, key: string, tags: readonly string[]): void {
  if (tags.length > maximumTags) throw new RangeError(`${cache}: more than ${maximumTags} tags on "${key}"`)
}
