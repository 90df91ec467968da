import { createHash } from 'node:crypto'
import { assertTag, type EventMapping, type InvalidationRules } from '../journal/invalidation-rules.js'
import type { CacheEvents } from './cache-events.js'
import { CacheInvalidated } from './cache-invalidated.js'
import type { CacheDependencies, MemoryLimits } from './cache-options.js'
import { namesAMessage } from './cache-writes.js'
import { type EntryOptions, type Given, withGiven } from './entry-options.js'
import { HybridCache } from './hybrid-cache.js'
import { inChunks } from './reads/in-chunks.js'

/** Characters of a key, unless a cache says otherwise. */
const defaultMaxKeyLength = 1_024

/** What every cache may declare, whether it holds the answers of a query or is one by name. */
export interface CacheSettings extends Given<EntryOptions>, Given<MemoryLimits> {
  /** Every event after which a value may differ. Leaving one out is the one way to serve stale values. */
  readonly invalidatedBy?: readonly EventMapping[]
  /**
   * The events after which an absent thing exists. Only with them are `null` and `undefined` kept: nothing else
   * would tell that they have become wrong.
   */
  readonly createdBy?: readonly EventMapping[]
  /** Characters of a key; values of longer ones are loaded each time. Default: 1,024. */
  readonly maxKeyLength?: number
  /** Raise it when the value's shape changes: two releases side by side then keep their own entries. */
  readonly revision?: number
}

/** A cache by name. Made by `declareCache`, which ties values and keys to it. */
export interface CacheDeclaration<Value, Key extends string = string> extends CacheSettings {
  /** Unique in the service, letters, digits, dots, underscores and hyphens: the prefix of its keys in Redis. */
  readonly name: string
  /** Only for the compiler: what it holds, by which keys. */
  readonly holds?: (key: Key) => Value
}

/**
 * Declares a cache of its own options, for what is not the answer of a query. List it in a module's `caches`, and
 * get it by `Caches.of`.
 */
export function declareCache<Value, Key extends string = string>(
  declaration: CacheDeclaration<Value, Key>,
): CacheDeclaration<Value, Key> {
  return declaration
}

export interface CacheDefaults {
  readonly entry: EntryOptions
  readonly limits: MemoryLimits
}

/** All caches of a node: each with its own options, isolated by its name, and all over one sequence of positions. */
export class Caches {
  readonly #byName = new Map<string, HybridCache>()

  constructor(
    private readonly dependencies: CacheDependencies,
    private readonly rules: InvalidationRules,
    private readonly defaults: CacheDefaults,
  ) {}

  get all(): readonly HybridCache[] {
    return [...this.#byName.values()]
  }

  /**
   * The estimated bytes that all caches together hold in memory, including keys and the entries themselves, and how many
   * they may hold.
   */
  get inMemory(): { readonly bytes: number; readonly maxBytes: number } {
    const { memory } = this.dependencies
    return { bytes: memory?.heldBytes ?? 0, maxBytes: memory?.maxBytes ?? Number.POSITIVE_INFINITY }
  }

  get events(): CacheEvents {
    return this.dependencies.events
  }

  /** @throws TypeError if no module lists the declaration */
  of<Value, Key extends string>(declaration: CacheDeclaration<Value, Key>): HybridCache<Value, Key> {
    const cache = this.#byName.get(declaration.name)
    if (!cache) throw new TypeError(`The cache "${declaration.name}" is listed in no module's \`caches\``)
    return cache as unknown as HybridCache<Value, Key>
  }

  /**
   * @param meaning what else tells entries of two releases apart
   * @throws TypeError if the name is taken, or is none
   * @throws RangeError naming an option that is out of range
   */
  add<Value, Key extends string>(
    declaration: CacheDeclaration<Value, Key>,
    meaning: readonly string[] = [],
  ): HybridCache<Value, Key> {
    const { name, invalidatedBy = [], createdBy = [], revision = 0, maxKeyLength, ...options } = declaration
    if (!/^[\w.-]{1,128}$/.test(name)) throw new TypeError(`"${name}" cannot be the name of a cache`)
    if (this.#byName.has(name)) throw new TypeError(`There are two caches of the name "${name}"`)
    const mappings = [...invalidatedBy, ...createdBy]
    const { entry, limits } = this.defaults
    const { maxEntries = limits.maxEntries, maxBytes, maxEntryBytes } = options
    const cache = new HybridCache(
      {
        name,
        declaration: hashOf([...meaning, ...describe(mappings), String(createdBy.length), String(revision)]),
        entry: withGiven(entry, options),
        cacheAbsent: createdBy.length > 0,
        maxEntries,
        maxBytes: maxBytes ?? limits.maxBytes,
        maxEntryBytes: maxEntryBytes ?? limits.maxEntryBytes,
        maxKeyLength: maxKeyLength ?? defaultMaxKeyLength,
      },
      this.dependencies,
    )
    for (const mapping of mappings) this.rules.declare(name, mapping)
    this.#byName.set(name, cache)
    return cache as unknown as HybridCache<Value, Key>
  }

  /** Removes, from every cache, what carries any of the tags. */
  removeByTag(...tags: string[]): Promise<void> {
    return this.#byTag(tags, 'remove')
  }

  /** Expires, in every cache, what carries any of the tags: it may still serve fail-safe. */
  expireByTag(...tags: string[]): Promise<void> {
    return this.#byTag(tags, 'expire')
  }

  /** Removes everything from every cache; with `keepFailSafe`, expires it. */
  clear({ keepFailSafe = false }: { readonly keepFailSafe?: boolean } = {}): Promise<void> {
    return this.dependencies.outbox.write([
      new CacheInvalidated({ mode: keepFailSafe ? 'expire' : 'remove' }),
    ])
  }

  async #byTag(tags: readonly string[], mode: 'remove' | 'expire'): Promise<void> {
    tags.forEach(assertTag)
    for (const some of inChunks(tags, namesAMessage)) {
      await this.dependencies.outbox.write([new CacheInvalidated({ tags: [...some], mode })])
    }
  }
}

/**
 * Two releases that invalidate by different rules must not share entries: what one would have removed, the
 * other would serve. The source of the functions stands for what they do.
 */
function describe(mappings: readonly EventMapping[]): string[] {
  return mappings.map(({ event, map }) => `${event.eventName}=${String(map)}`)
}

function hashOf(parts: readonly string[]): string {
  return createHash('sha256').update(parts.join('\n')).digest('hex').slice(0, 12)
}
