import type { Stamp } from '../../journal/applied-journal.js'
import { dependencyOn } from '../../journal/invalidation-rules.js'
import type { CacheDependencies, HybridCacheOptions } from '../cache-options.js'
import { type AdaptiveOptions, type EntryOptions, lastingOf, withGiven } from '../entry-options.js'
import type { Validators } from '../load-context.js'
import type { SharedEntry } from '../shared/shared-tier.js'
import { estimatedBytes, givenOf, type Protected, protect, protectOwn } from '../values/mutation-safety.js'
import { CacheEntry, type Life, never } from './cache-entry.js'

/** What is known of a value when it has been loaded. */
export interface LoadedValue {
  readonly value: unknown
  readonly stamp: Stamp
  readonly names: readonly string[]
  /** Those of the read, with what its load has decided. */
  readonly options: EntryOptions
  readonly decided: AdaptiveOptions
  readonly validators: Validators
  /** What memory holds of the key when the load ends. That was loaded before. */
  readonly before: CacheEntry | undefined
}

/** Makes the entries of one cache: from what was loaded, and from what L2 holds. */
export class Entries {
  /** The name that all entries of the cache depend on. */
  readonly cacheName: string
  readonly #cacheSlot: number

  constructor(
    private readonly options: HybridCacheOptions,
    private readonly dependencies: CacheDependencies,
  ) {
    this.cacheName = dependencyOn.cache(options.name)
    this.#cacheSlot = dependencies.applied.invalidations.slotOf(this.cacheName)
  }

  fromLoad(
    key: string,
    { value, stamp, names, options, decided, validators, before }: LoadedValue,
  ): CacheEntry {
    const { clusterClock } = this.dependencies
    const now = clusterClock.now()
    // Both may have ended in the same ms, or the clock may have been set back. L2 may still hold the earlier value, and must not
    // give it back in place of this one.
    const loadedAt = before ? Math.max(now, processBeganAt + before.loadedAt + 1) : now
    const freshUntil = now + earlier(options.l2TtlMs, options.jitterMs)
    const own = protect(value, options.clone)
    const life: Life = {
      loadedAt,
      freshUntil,
      usableUntil: options.failSafe ? Math.max(freshUntil, now + options.failSafeMaxDurationMs) : freshUntil,
      l1TtlMs: options.l1TtlMs,
      isJson: own.isJson,
    }
    const entry = this.#entry(key, own, stamp, names, life, options, {
      ...validators,
      lasting: lastingOf(decided),
    })
    CacheEntry.live(entry, life)
    return entry
  }

  /** A copy keeps stamp, names and life of what it was copied from; only its time in memory is its own. */
  fromShared(key: string, found: SharedEntry, epoch: string, options: EntryOptions): CacheEntry {
    const { value, position, names, loadedAt, freshUntil, usableUntil, lasting } = found
    // The load's own decision comes first. Otherwise the shorter of the two holds: that of the call that loaded, and that of this
    // call.
    const l1TtlMs = lasting?.l1TtlMs ?? Math.min(found.l1TtlMs, options.l1TtlMs)
    // The clock that lives are counted by may have been stepped since: no value outlives its time by that.
    const latest = this.dependencies.clusterClock.now() + (freshUntil - loadedAt)
    const life = { loadedAt, freshUntil: Math.min(freshUntil, latest), usableUntil, l1TtlMs }
    const settled = lasting ? withGiven(options, lasting) : options
    const own = protectOwn(value, settled.clone)
    return this.#entry(key, own, { epoch, position }, names, life, settled, found)
  }

  toShared({ kept, stamp, names, etag, lastModified, lasting }: CacheEntry, life: Life): SharedEntry {
    return { value: givenOf(kept), position: stamp.position, names, ...life, etag, lastModified, lasting }
  }

  /** Everything that an entry depends on, by name. */
  namesOf(key: string, entry: CacheEntry): readonly string[] {
    return [dependencyOn.key(this.options.name, key), this.cacheName, ...entry.names]
  }

  /** What every value of a key depends on, and the absence of a value, too. */
  ownNames(key: string, tags: readonly string[] = []): readonly string[] {
    return [dependencyOn.key(this.options.name, key), this.cacheName, ...tags.map(dependencyOn.tag)]
  }

  /** The slots that every value of a key depends on, whatever else it will turn out to. */
  ownSlots(key: string): readonly number[] {
    return this.#slots(key, [])
  }

  /** The slots of everything that an entry depends on, except its own key and cache. */
  slotsOfNames({ slots, names }: CacheEntry): readonly number[] {
    return slots.slice(slots.length - names.length)
  }

  #slots(key: string, names: readonly string[]): number[] {
    const { invalidations } = this.dependencies.applied
    const slots = [invalidations.slotOf(dependencyOn.key(this.options.name, key)), this.#cacheSlot]
    for (const name of names) slots.push(invalidations.slotOf(name))
    // An array that has grown has room for 16 more; a copy has none.
    return names.length === 0 ? slots : slots.slice()
  }

  #entry(
    key: string,
    { kept, trouble }: Protected,
    stamp: Stamp,
    names: readonly string[],
    life: Life,
    options: EntryOptions,
    { etag, lastModified, lasting }: Partial<Pick<CacheEntry, 'etag' | 'lastModified' | 'lasting'>>,
  ): CacheEntry {
    const { clock, clusterClock } = this.dependencies
    const now = clock.now()
    const inMemory = now + earlier(life.l1TtlMs, options.jitterMs)
    // Longer than it lives in L2, a copy here would be the last to show an old value.
    const freshUntil = Math.floor(Math.min(inMemory, clusterClock.toLocal(life.freshUntil)))
    return new CacheEntry({
      stamp,
      freshUntil,
      refreshAt:
        options.eagerRefreshThreshold > 0
          ? Math.floor(now + options.eagerRefreshThreshold * (freshUntil - now))
          : never,
      kept,
      slots: this.#slots(key, names),
      // Later than it was: a check that began in between does not make its token a position.
      obtainedAt: Math.ceil(now),
      keepable: trouble === undefined,
      names: names.length === 0 ? noNames : names,
      usableUntil: options.failSafe
        ? Math.max(freshUntil, Math.floor(clusterClock.toLocal(life.usableUntil)))
        : freshUntil,
      // A value that is not data is not kept, so its size is not measured.
      bytes: Math.ceil(
        options.sizeBytes ?? (trouble === undefined && isForMemory(options) ? estimatedBytes(kept) : 0),
      ),
      etag,
      lastModified,
      loadedAt: Math.floor(life.loadedAt - processBeganAt),
      wholeMs: Math.floor(Math.min(life.freshUntil - life.loadedAt, life.l1TtlMs)),
      lasting,
    })
  }
}

/** By this machine's clock. It may be wrong, because it only serves to keep `loadedAt` small. */
const processBeganAt = Math.floor(Date.now())

/** One for all that have none. */
const noNames: readonly string[] = []

/** Whether memory may hold the value. With fail-safe it may hold a copy even where `skipL1Write` is set. */
function isForMemory({ skipL1Write, failSafe }: EntryOptions): boolean {
  return !skipL1Write || failSafe
}

/** A time to live, shortened by a random part of the jitter, in whole ms; at least 1 ms. */
function earlier(ttlMs: number, jitterMs: number): number {
  return jitterMs === 0 ? ttlMs : Math.max(1, ttlMs - Math.floor(Math.random() * jitterMs))
}
