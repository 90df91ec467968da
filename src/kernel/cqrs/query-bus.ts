import type { CacheSurroundings } from '../cache/cache-options.js'
import { HybridCache } from '../cache/hybrid-cache.js'
import type { Consistency } from '../journal/consistency.js'
import type { InvalidationRules } from '../journal/invalidation-rules.js'
import { type CacheDefaults, type CachingDeclaration, cacheOptions } from './caching.js'
import type { HandlerRegistry } from './handler-registry.js'
import type { QueryHandler } from './handlers.js'
import { type Bus, type QueryClass, type ResultOf, type Returning, validated } from './message.js'

interface CachedQuery {
  readonly cache: HybridCache
  readonly caching: CachingDeclaration<QueryClass>
}

/** Validation, then the cache that the query declares, then its handler. */
export class QueryBus implements Bus<'query'> {
  readonly #cached = new Map<QueryClass, CachedQuery>()

  constructor(
    private readonly handlers: HandlerRegistry,
    rules: InvalidationRules,
    surroundings: CacheSurroundings,
    defaults: CacheDefaults,
  ) {
    for (const [query, { declaration }] of handlers.queries) {
      const { caching } = declaration
      if (!caching) continue
      const cache = new HybridCache(cacheOptions(query, caching, defaults), surroundings)
      for (const mapping of [...caching.invalidatedBy, ...(caching.createdBy ?? [])])
        rules.declare(cache.name, mapping)
      this.#cached.set(query, { cache, caching })
    }
  }

  /**
   * @throws InvalidMessageError if the query does not fit its schema
   * @throws what the handler throws
   */
  async execute<Query extends object & Returning<unknown, 'query'>>(
    query: Query,
    consistency?: Consistency,
  ): Promise<ResultOf<Query>> {
    const checked = validated(query)
    const type = checked.constructor as unknown as QueryClass
    const registered = this.handlers.queries.get(type)
    if (!registered) throw new TypeError(`${type.name} is a query of no module`)
    const handler = registered.handler as QueryHandler<Query>
    const cached = this.#cached.get(type)
    if (!cached) {
      await consistency?.satisfy()
      const result = await handler.execute(checked)
      consistency?.answered('bypass', Number.POSITIVE_INFINITY)
      return result
    }
    const { cache, caching } = cached
    return cache.getOrCreate(caching.key(checked as never), () => handler.execute(checked), {
      consistency,
      tagsOf: (answer) => caching.tags?.(checked as never, answer as never) ?? [],
    })
  }

  /** The cache of a query, to remove from by hand; undefined if the query declares none. */
  cacheOf(query: QueryClass): HybridCache | undefined {
    return this.#cached.get(query)?.cache
  }

  get caches(): readonly HybridCache[] {
    return [...this.#cached.values()].map(({ cache }) => cache)
  }
}
