import { dependencyOn } from '../../journal/invalidation-rules.js'
import type { Read, ReadOptions } from '../cache-options.js'
import type { CacheStatistics } from '../cache-statistics.js'
import { RunningLoad } from '../load-context.js'
import type { LoadMissing } from './batch-loads.js'
import { outerLoad, runLoad, scopeWithinLoad } from './load-scope.js'

/** For loads that somebody always waits for. */
const neverAborts = new AbortController().signal

/**
 * Reads inside a unit of work. They load in that transaction, share with nobody and keep nothing, because what they see may never
 * be committed. If the unit of work runs inside a load, that load's value may be kept, so it depends on everything that the
 * values read here depend on.
 */
export class UncachedReads {
  constructor(
    private readonly cache: string,
    private readonly statistics: CacheStatistics,
  ) {}

  /** @throws what the factory throws, or the reason of `options.signal` if it has aborted already */
  async load({ key, factory, entry, options }: Read): Promise<unknown> {
    this.statistics.bypasses++
    options.signal?.throwIfAborted()
    const scope = scopeWithinLoad(0, { cache: this.cache, keys: [key] })
    const value = await runLoad(scope, () =>
      factory(new RunningLoad(key, options.signal ?? neverAborts, entry, scope, undefined)),
    )
    addTagsOf([value], options)
    options.consistency?.answered('bypass', Number.POSITIVE_INFINITY)
    return value
  }

  /**
   * @returns each key with its value, in the order of the keys; undefined for a key that `loadMissing` has left out
   * @throws what `loadMissing` throws, or the reason of `options.signal` if it has aborted already
   */
  async loadMany<Key extends string, Value>(
    keys: readonly Key[],
    loadMissing: LoadMissing<Key, Value>,
    options: ReadOptions<Value>,
  ): Promise<readonly (readonly [Key, Value | undefined])[]> {
    this.statistics.bypasses += keys.length
    options.signal?.throwIfAborted()
    const scope = scopeWithinLoad(0, { cache: this.cache, keys })
    const values = await runLoad(scope, () => loadMissing(keys, options.signal ?? neverAborts))
    const found = keys.map((key) => [key, values.get(key)] as const)
    addTagsOf([...values.values()], options)
    options.consistency?.answered('bypass', Number.POSITIVE_INFINITY)
    return found
  }
}

/** Passes the tags that follow from the values to the load around, if there is one. */
function addTagsOf<Value>(values: readonly Value[], { tagsOf }: ReadOptions<Value>): void {
  const outer = outerLoad()
  if (!outer || !tagsOf) return
  for (const value of values) outer.add(tagsOf(value).map(dependencyOn.tag))
}
