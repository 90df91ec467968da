import type { LoadMissing } from './batch-loads.js'
import type { Read, ReadOptions } from './cache-options.js'
import type { CacheStatistics } from './cache-statistics.js'
import { RunningLoad } from './load-context.js'
import { LoadScope, runLoad } from './load-scope.js'

/** For loads that somebody always waits for. */
const neverAborts = new AbortController().signal

/**
 * A read inside a unit of work: loaded in that transaction, shared with nobody and kept nowhere, as what it sees
 * may never be committed.
 */
export async function loadInTransaction(read: Read, statistics: CacheStatistics): Promise<unknown> {
  statistics.bypasses++
  const { key, factory, entry, options } = read
  const scope = new LoadScope()
  const value = await runLoad(scope, () =>
    factory(new RunningLoad(key, options.signal ?? neverAborts, entry, scope, undefined)),
  )
  options.consistency?.answered('bypass', Number.POSITIVE_INFINITY)
  return value
}

export async function loadManyInTransaction<Key extends string, Value>(
  keys: readonly Key[],
  loadMissing: LoadMissing<Key, Value>,
  options: ReadOptions<Value>,
  statistics: CacheStatistics,
): Promise<ReadonlyMap<Key, Value>> {
  statistics.bypasses += keys.length
  const values = await runLoad(new LoadScope(), () => loadMissing(keys, options.signal ?? neverAborts))
  options.consistency?.answered('bypass', Number.POSITIVE_INFINITY)
  return values
}
