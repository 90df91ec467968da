import type { CacheSettings } from '../cache/caches.js'
import type { EventMapping } from '../journal/invalidation-rules.js'
import type { QueryClass, ResultOf } from './message.js'

/**
 * Says how the answers of a query are cached and what makes them stale. It may also set every option of an entry
 * (times to live, fail-safe, timeouts, eager refresh …); see `docs/hybrid-cache.md`.
 */
export interface CachingDeclaration<Query extends QueryClass> extends CacheSettings {
  /**
   * Returns the key of the answer. Two queries with the same key get the same answer. What the database takes for one
   * thing must have one key: see `docs/hybrid-cache.md#keys`. For undefined, the answer is loaded each time and never
   * cached. That suits a page whose start the client chooses.
   */
  readonly key: (query: InstanceType<Query>) => string | undefined
  /**
   * Returns the key that belongs to the id in the answer, as the database spells that id. `'none'` if the answer has no
   * such id, like a list. It is compared with `key` after each load: an answer to `?id=01` whose id is `1` would be cached
   * under two keys, and events would invalidate only one of them. It is not called for `null` and `undefined`.
   */
  readonly keyOfAnswer:
    | ((answer: NonNullable<ResultOf<InstanceType<Query>>>, query: InstanceType<Query>) => string)
    | 'none'
  /**
   * Fields that need no normalising, because the database, too, takes each spelling for another value. An example is a
   * code of digits that is stored as text and in which leading zeros count.
   */
  readonly distinctSpellings?: readonly (keyof InstanceType<Query> & string)[]
  /** Whether an answer is cached; one that is not is loaded each time. By default every answer is cached. */
  readonly keepIf?: (answer: ResultOf<InstanceType<Query>>) => boolean
  /** Further names by which events, or `removeByTag`, can make the answer stale. They may depend on the answer. */
  readonly tags?: (query: InstanceType<Query>, answer: ResultOf<InstanceType<Query>>) => readonly string[]
  readonly invalidatedBy: readonly EventMapping[]
}

/** An answer says that its key is not the one it was loaded for. The answer is not cached. */
export class AmbiguousKeyError extends Error {
  override readonly name = 'AmbiguousKeyError'
  constructor(
    readonly query: string,
    readonly key: string,
    readonly keyOfAnswer: string,
  ) {
    super(
      `${query}: the answer for the key ${JSON.stringify(key)} says that its key is ${JSON.stringify(keyOfAnswer)}. ` +
        'Events would invalidate only one of the two. Let the schema of the query normalise its fields: docs/hybrid-cache.md#keys',
    )
  }
}

/** @throws AmbiguousKeyError if the id in the answer belongs to another key */
export function assertKeyOfAnswer<Query extends QueryClass>(
  type: Query,
  { keyOfAnswer }: CachingDeclaration<Query>,
  query: InstanceType<Query>,
  key: string,
  answer: ResultOf<InstanceType<Query>>,
): void {
  // It is `'none'`, or missing in code that was not type-checked.
  if (typeof keyOfAnswer !== 'function' || answer === null || answer === undefined) return
  const own = keyOfAnswer(answer, query)
  if (own !== key) throw new AmbiguousKeyError(type.name, key, own)
}

/**
 * Tells the answers of a query in two releases apart, in addition to its event mappings: the names of its fields, and the
 * source text of `key` and `tags`.
 */
export function meaningOf(query: QueryClass, { key, tags }: CachingDeclaration<QueryClass>): string[] {
  return [Object.keys(query.schema.shape).join(), String(key), String(tags)]
}
