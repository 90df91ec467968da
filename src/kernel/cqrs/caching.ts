import { createHash } from 'node:crypto'
import type { HybridCacheOptions } from '../cache/cache-options.js'
import type { EventMapping } from '../journal/invalidation-rules.js'
import type { QueryClass, ResultOf } from './message.js'

/**
 * How the answers of a query are cached, and what makes them stale: all of it in one place. Answers are what JSON
 * can carry, as L2 keeps them so: a `Date` would come back as text, an absent field never as `undefined`.
 */
export interface CachingDeclaration<Query extends QueryClass> {
  /** Names the answer. Two queries with the same key get the same answer. */
  readonly key: (query: InstanceType<Query>) => string
  /** Further names under which events, or `removeByTag`, can make the answer stale; they may follow from it. */
  readonly tags?: (query: InstanceType<Query>, answer: ResultOf<InstanceType<Query>>) => readonly string[]
  /** Every event after which an answer may differ. Leaving one out is the one way to serve stale answers. */
  readonly invalidatedBy: readonly EventMapping[]
  /**
   * The events after which an absent thing exists. Only with them is `null` cached: nothing else would tell
   * that the answer has become wrong.
   */
  readonly createdBy?: readonly EventMapping[]
  /** Milliseconds in memory. Default: `CACHE_L1_TTL_MS`. */
  readonly l1TtlMs?: number
  /** Milliseconds in Redis. Default: `CACHE_L2_TTL_MS`. */
  readonly l2TtlMs?: number
  /** Entries in memory. Default: `CACHE_MAX_ENTRIES`. */
  readonly maxEntries?: number
  /**
   * Raise it when the answer's shape changes: two releases side by side then keep their own entries. (What
   * the query itself declares is part of the entries' name already.)
   */
  readonly revision?: number
}

export interface CacheDefaults {
  readonly l1TtlMs: number
  readonly l2TtlMs: number
  readonly maxEntries: number
}

export function cacheOptions(
  query: QueryClass,
  caching: CachingDeclaration<QueryClass>,
  defaults: CacheDefaults,
): HybridCacheOptions {
  return {
    name: query.name,
    declaration: declarationHash(query, caching),
    l1TtlMs: caching.l1TtlMs ?? defaults.l1TtlMs,
    l2TtlMs: caching.l2TtlMs ?? defaults.l2TtlMs,
    maxEntries: caching.maxEntries ?? defaults.maxEntries,
    cacheAbsent: (caching.createdBy?.length ?? 0) > 0,
  }
}

/**
 * Two releases that invalidate by different rules must not share entries: what one would have removed, the
 * other would serve. The source of the functions stands for what they do.
 */
function declarationHash(query: QueryClass, caching: CachingDeclaration<QueryClass>): string {
  const mappings = [...caching.invalidatedBy, ...(caching.createdBy ?? [])]
  const parts = [
    Object.keys(query.schema.shape).join(),
    String(caching.key),
    String(caching.tags),
    ...mappings.map(({ event, map }) => `${event.eventName}=${String(map)}`),
    String(caching.createdBy?.length ?? 0),
    String(caching.revision ?? 0),
  ]
  return createHash('sha256').update(parts.join('\n')).digest('hex').slice(0, 12)
}
