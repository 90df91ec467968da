import type { CacheSettings } from '../cache/caches.js'
import type { EventMapping } from '../journal/invalidation-rules.js'
import type { QueryClass, ResultOf } from './message.js'

/**
 * How the answers of a query are cached, and what makes them stale: all of it in one place. Every option of an
 * entry (times to live, fail-safe, timeouts, eager refresh …) may stand here as well; see `docs/hybrid-cache.md`.
 */
export interface CachingDeclaration<Query extends QueryClass> extends CacheSettings {
  /**
   * Names the answer. Two queries with the same key get the same answer, and what is one thing to the database must have
   * one key: see `docs/hybrid-cache.md#keys`. Undefined: this answer is loaded each time and kept nowhere, as for a page
   * that begins wherever a client says.
   */
  readonly key: (query: InstanceType<Query>) => string | undefined
  /**
   * The key that the answer itself says it has, by the id that the database has for it; `'none'` if it has no such id, as
   * a list. Compared with `key` after each load: an answer to `?id=01` that says its id is `1` would be cached under two
   * keys, and events would invalidate one of them. Not called for `null` and `undefined`.
   */
  readonly keyOfAnswer:
    | ((answer: NonNullable<ResultOf<InstanceType<Query>>>, query: InstanceType<Query>) => string)
    | 'none'
  /**
   * Fields whose every spelling is a thing of its own to the database, too, so that they need not be normalised: a code of
   * digits, say, that is stored as text and in which leading zeros count.
   */
  readonly distinctSpellings?: readonly (keyof InstanceType<Query> & string)[]
  /** Whether an answer is worth an entry. By default every one is; what is not is loaded each time. */
  readonly keepIf?: (answer: ResultOf<InstanceType<Query>>) => boolean
  /** Further names under which events, or `removeByTag`, can make the answer stale; they may follow from it. */
  readonly tags?: (query: InstanceType<Query>, answer: ResultOf<InstanceType<Query>>) => readonly string[]
  readonly invalidatedBy: readonly EventMapping[]
}

/** One thing was asked for by two keys. Nothing is kept of the answer. */
export class AmbiguousKeyError extends Error {
  override readonly name = 'AmbiguousKeyError'
  constructor(
    readonly query: string,
    readonly key: string,
    readonly keyOfAnswer: string,
  ) {
    super(
      `${query}: what was asked for as ${JSON.stringify(key)} says that its key is ${JSON.stringify(keyOfAnswer)}. ` +
        'Events would invalidate one of the two. Have the schema of the query normalise its fields: docs/hybrid-cache.md#keys',
    )
  }
}

/** @throws AmbiguousKeyError if the answer's own id makes another key */
export function assertKeyOfAnswer<Query extends QueryClass>(
  type: Query,
  { keyOfAnswer }: CachingDeclaration<Query>,
  query: InstanceType<Query>,
  key: string,
  answer: ResultOf<InstanceType<Query>>,
): void {
  // Absent where types are not checked.
  if (typeof keyOfAnswer !== 'function' || answer === null || answer === undefined) return
  const own = keyOfAnswer(answer, query)
  if (own !== key) throw new AmbiguousKeyError(type.name, key, own)
}

/** What, beside its rules, tells the answers of a query in two releases apart. */
export function meaningOf(query: QueryClass, { key, tags }: CachingDeclaration<QueryClass>): string[] {
  return [Object.keys(query.schema.shape).join(), String(key), String(tags)]
}
