import { Answers } from './answers.js'
import type { CacheSurroundings, HybridCacheOptions } from './cache-options.js'
import { CacheStatistics } from './cache-statistics.js'
import { CacheWrites } from './cache-writes.js'
import { ClusterFlight } from './cluster-flight.js'
import { EagerRefresh } from './eager-refresh.js'
import { Entries } from './entries.js'
import { FailSafe } from './fail-safe.js'
import { Flights } from './flights.js'
import { Loader } from './loader.js'
import { MemoryTier } from './memory-tier.js'
import { Misses, SingleLoads } from './misses.js'
import { OneTierReads } from './one-tier-reads.js'
import { RemovedEntries } from './removed-entries.js'
import { Tiers } from './tiers.js'
import { UncachedReads } from './uncached-reads.js'

export type CacheParts = ReturnType<typeof assembleCache>

/** What one cache is made of, wired. */
export function assembleCache(options: HybridCacheOptions, around: CacheSurroundings) {
  const { name } = options
  const { applied, lease, clock, events } = around
  const statistics = new CacheStatistics()
  const memory = new MemoryTier(name, options, events, around.memory)
  const entries = new Entries(options, around)
  const tiers = new Tiers(options, around, entries, memory, statistics)
  const loader = new Loader(options, around, entries, memory, statistics)
  const flights = new Flights(
    applied,
    lease,
    clock,
    (key) => entries.ownSlots(key),
    ({ kept }) => loader.mayKeep(kept),
  )
  const answers = new Answers(name, around, entries, statistics)
  const failSafe = new FailSafe(name, around, memory, statistics)
  const cluster = new ClusterFlight(around, entries, tiers)
  const single = new SingleLoads(tiers, cluster, loader, clock)
  return {
    statistics,
    memory,
    removed: new RemovedEntries(name, applied, memory),
    entries,
    tiers,
    loader,
    answers,
    single,
    misses: new Misses(name, around, flights, tiers, failSafe, answers, statistics),
    eager: new EagerRefresh(flights, tiers, cluster, single, memory, statistics, clock),
    oneTier: new OneTierReads(lease, tiers, loader, flights),
    uncached: new UncachedReads(name, statistics),
    writes: new CacheWrites(options, around, entries, tiers, loader),
  }
}
