/**
 * What one cache of this node has done since it started. Plain counters: they cost nothing to keep. Each read counts in exactly
 * one of `l1Hits`, `l2Hits`, `misses`, `bypasses`, `staleServed`, `madeOfStale` and `failedReads`; except that one which fails
 * after it was taken for a bypass is in both.
 */
export class CacheStatistics {
  l1Hits = 0
  l2Hits = 0
  /** Reads that had to load. */
  misses = 0
  /** Reads that no cache may answer: inside a unit of work, or without a lease. */
  bypasses = 0
  /** Reads answered by a value past its time, marked as such. */
  staleServed = 0
  /** Reads answered by a load that was itself given something stale. Marked as such, and kept nowhere. */
  madeOfStale = 0
  /** Reads that ended in an error: their load failed or took too long, with nothing to answer instead, or they were given up. */
  failedReads = 0
  loads = 0
  loadFailures = 0
  eagerRefreshes = 0
  /** Values kept out because something they depend on was invalidated after their load began. */
  fenced = 0
  /** Values that were answered and are kept nowhere, as they hold what is no data. */
  unkept = 0
}
