/**
 * What one cache of this node has done since it started. Plain counters: they cost nothing to keep. Each `getOrCreate`, and
 * each key of a `getMany`, is counted in exactly one of `l1Hits`, `l2Hits`, `misses`, `bypasses`, `staleServed`, `madeOfStale`
 * and `failedReads`. The exceptions: a read that bypasses the cache for lack of a lease and then fails counts in `bypasses`
 * and in `failedReads`, and a read whose token cannot be honoured counts in none.
 */
export class CacheStatistics {
  l1Hits = 0
  l2Hits = 0
  /** Reads that had to load. */
  misses = 0
  /** Reads that no cache may answer: inside a unit of work, or without a lease. */
  bypasses = 0
  /** Reads answered with a value that had expired or was invalidated. The answer is marked as stale. */
  staleServed = 0
  /** Reads answered by a load that itself read something stale. The answer is marked as stale, and not kept. */
  madeOfStale = 0
  /** Reads that threw: the load failed or took too long and nothing stale could be answered, or the caller gave up. */
  failedReads = 0
  loads = 0
  loadFailures = 0
  eagerRefreshes = 0
  /** Values kept out because something they depend on was invalidated after their load began. */
  fenced = 0
  /** Values that were answered but not kept, because a part of them is not data. */
  unkept = 0
}
