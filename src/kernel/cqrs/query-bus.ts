import { NotInTierError } from '../cache/cache-errors.js'
import type { Caches } from '../cache/caches.js'
import type { HybridCache } from '../cache/hybrid-cache.js'
import type { LoadContext } from '../cache/load-context.js'
import { outerLoad, runLoad, scopeWithinLoad } from '../cache/reads/load-scope.js'
import type { Consistency } from '../journal/consistency.js'
import { dependencyOn } from '../journal/invalidation-rules.js'
import { assertKeyOfAnswer, type CachingDeclaration, meaningOf } from './caching.js'
import type { HandlerRegistry } from './handler-registry.js'
import type { QueryHandler } from './handlers.js'
import { type Bus, type QueryClass, type ResultOf, type Returning, validated } from './message.js'

interface CachedQuery {
  readonly cache: HybridCache
  readonly caching: CachingDeclaration<QueryClass>
}

/** Validates a query, then asks the cache that the query declares, which calls the handler on a miss. */
export class QueryBus implements Bus<'query'> {
  readonly #cached = new Map<QueryClass, CachedQuery>()

  constructor(
    private readonly handlers: HandlerRegistry,
    caches: Caches,
  ) {
    for (const [query, { declaration }] of handlers.queries) {
      const { caching } = declaration
      if (!caching) continue
      const { key, keyOfAnswer, distinctSpellings, keepIf, tags, ...settings } = caching
      const cache = caches.add({ name: query.name, ...settings }, meaningOf(query, caching))
      this.#cached.set(query, { cache, caching })
    }
  }

  /**
   * @throws InvalidMessageError if the query does not fit its schema
   * @throws what the handler throws
   */
  execute<Query extends object & Returning<unknown, 'query'>>(
    query: Query,
    consistency?: Consistency,
  ): Promise<ResultOf<Query>> {
    // Not an async function, because it would wrap the promise of the cache in another one. That would be most of what this
    // method costs.
    try {
      return this.#execute(validated(query), consistency)
    } catch (error) {
      return Promise.reject(error)
    }
  }

  #execute<Query extends object & Returning<unknown, 'query'>>(
    query: Query,
    consistency: Consistency | undefined,
  ): Promise<ResultOf<Query>> {
    const type = query.constructor as unknown as QueryClass
    const registered = this.handlers.queries.get(type)
    if (!registered)
      throw new TypeError(
        `${type.name} has no handler: no module lists a class with @queryHandler(${type.name})`,
      )
    const handler = registered.handler as QueryHandler<Query>
    const cached = this.#cached.get(type)
    if (!cached) return this.#executeUncached(query, handler, consistency)
    const { cache, caching } = cached
    const key = caching.key(query as never)
    if (key === undefined) return this.#bypassCache(query, handler, consistency, cached)
    return cache.getOrCreate(key, (context) => this.#load(query, handler, caching, context), {
      consistency,
      tagsOf: (answer) => caching.tags?.(query as never, answer as never) ?? [],
    })
  }

  async #load<Query extends object & Returning<unknown, 'query'>>(
    query: Query,
    handler: QueryHandler<Query>,
    caching: CachingDeclaration<QueryClass>,
    context: LoadContext,
  ): Promise<ResultOf<Query>> {
    const answer = await handler.execute(query)
    const type = query.constructor as unknown as QueryClass
    assertKeyOfAnswer(type, caching, query as never, context.key, answer as never)
    if (caching.keepIf && !caching.keepIf(answer as never)) context.doNotStore()
    return answer
  }

  /** Answers a query that has no key. A load that asks it still depends on whatever makes the answer stale. */
  async #bypassCache<Query extends object & Returning<unknown, 'query'>>(
    query: Query,
    handler: QueryHandler<Query>,
    consistency: Consistency | undefined,
    { cache, caching }: CachedQuery,
  ): Promise<ResultOf<Query>> {
    const tier = consistency?.onlyTier
    if (tier === 'l1' || tier === 'l2') throw new NotInTierError(tier)
    const answer = await this.#executeUncached(query, handler, consistency)
    cache.statistics.bypasses++
    const tags = caching.tags?.(query as never, answer as never) ?? []
    outerLoad()?.add([dependencyOn.cache(cache.name), ...tags.map(dependencyOn.tag)])
    return answer
  }

  async #executeUncached<Query extends object & Returning<unknown, 'query'>>(
    query: Query,
    handler: QueryHandler<Query>,
    consistency: Consistency | undefined,
  ): Promise<ResultOf<Query>> {
    await consistency?.satisfy()
    // Cached reads inside the handler may give stale values; the answer is then stale, too, and has to say so.
    const scope = scopeWithinLoad(consistency?.requiredPosition ?? 0)
    const result = await runLoad(scope, () => handler.execute(query))
    const { staleness } = scope
    consistency?.answered('bypass', Number.POSITIVE_INFINITY, staleness && { staleness, overdueMs: 0 })
    return result
  }

  /** The cache of a query, so that code can remove entries from it; undefined if the query declares no cache. */
  cacheOf(query: QueryClass): HybridCache | undefined {
    return this.#cached.get(query)?.cache
  }
}
