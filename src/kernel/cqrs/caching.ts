import type { CacheSettings } from '../cache/caches.js'
import type { EventMapping } from '../journal/invalidation-rules.js'
import type { QueryClass, ResultOf } from './message.js'

/**
 * How the answers of a query are cached, and what makes them stale: all of it in one place. Every option of an
 * entry (times to live, fail-safe, timeouts, eager refresh …) may stand here as well; see `docs/hybrid-cache.md`.
 */
export interface CachingDeclaration<Query extends QueryClass> extends CacheSettings {
  /** Names the answer. Two queries with the same key get the same answer. */
  readonly key: (query: InstanceType<Query>) => string
  /** Further names under which events, or `removeByTag`, can make the answer stale; they may follow from it. */
  readonly tags?: (query: InstanceType<Query>, answer: ResultOf<InstanceType<Query>>) => readonly string[]
  readonly invalidatedBy: readonly EventMapping[]
}

/** What, beside its rules, tells the answers of a query in two releases apart. */
export function meaningOf(query: QueryClass, { key, tags }: CachingDeclaration<QueryClass>): string[] {
  return [Object.keys(query.schema.shape).join(), String(key), String(tags)]
}
