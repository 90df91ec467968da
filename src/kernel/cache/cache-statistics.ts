/** What one cache of this node has done since it started. Plain counters: they cost nothing to keep. */
export class CacheStatistics {
  l1Hits = 0
  l2Hits = 0
  /** Reads that had to load. */
  misses = 0
  /** Reads that no cache may answer: inside a unit of work, or without a lease. */
  bypasses = 0
  loads = 0
  loadFailures = 0
  eagerRefreshes = 0
  /** Values kept out because something they depend on was invalidated after their load began. */
  fenced = 0
  staleServed = 0
  /** Values that were answered and are kept nowhere, as they hold what is no data. */
  unkept = 0
}
