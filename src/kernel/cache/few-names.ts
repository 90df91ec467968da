import { dependencyOn } from '../journal/invalidation-rules.js'

/** How many names an entry may have to be kept: each is a comparison at every read. */
export const maximumNames = 512

/**
 * The names of a value that was made of very many others, by fewer: in place of each key of a cache, any of its keys; and if that
 * is not enough, in place of each tag, any tag. The value goes stale more often than it has to, and never too late.
 */
export function fewNames(names: ReadonlySet<string>): readonly string[] {
  if (names.size <= maximumNames) return [...names]
  const byCache = new Set([...names].map((name) => dependencyOn.anyKeyLike(name) ?? name))
  if (byCache.size <= maximumNames) return [...byCache]
  return [...new Set([...byCache].map((name) => (dependencyOn.isTag(name) ? dependencyOn.anyTag : name)))]
}
