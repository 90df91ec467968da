import { dependencyOn } from '../../journal/invalidation-rules.js'

/** Most names that an entry may have to be kept. Each name costs a comparison at every read. */
export const maximumNames = 512

/**
 * Shortens the names of a value that was made from very many others. Single keys are replaced by "any key" of their cache; if
 * there are still too many names, single tags are replaced by "any tag". The value then goes stale more often than necessary,
 * but never too late.
 */
export function fewNames(names: ReadonlySet<string>): readonly string[] {
  if (names.size <= maximumNames) return [...names]
  const byCache = new Set([...names].map((name) => dependencyOn.anyKeyLike(name) ?? name))
  if (byCache.size <= maximumNames) return [...byCache]
  return [...new Set([...byCache].map((name) => (dependencyOn.isTag(name) ? dependencyOn.anyTag : name)))]
}
