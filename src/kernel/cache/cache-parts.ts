import type { CacheDependencies, HybridCacheOptions } from './cache-options.js'
import { CacheStatistics } from './cache-statistics.js'
import { CacheWrites } from './cache-writes.js'
import { Entries } from './entries/entries.js'
import { MemoryTier } from './entries/memory-tier.js'
import { RemovedEntries } from './entries/removed-entries.js'
import { Tiers } from './entries/tiers.js'
import { Answers } from './reads/answers.js'
import { ClusterSingleFlight } from './reads/cluster-single-flight.js'
import { EagerRefresh } from './reads/eager-refresh.js'
import { FailSafe } from './reads/fail-safe.js'
import { Loader } from './reads/loader.js'
import { Misses } from './reads/misses.js'
import { OneTierReads } from './reads/one-tier-reads.js'
import { SingleFlight } from './reads/single-flight.js'
import { SingleLoads } from './reads/single-loads.js'
import { UncachedReads } from './reads/uncached-reads.js'

export type CacheParts = ReturnType<typeof assembleCache>

/** What one cache is made of, wired. */
export function assembleCache(options: HybridCacheOptions, dependencies: CacheDependencies) {
  const { name } = options
  const { applied, lease, clock, events } = dependencies
  const statistics = new CacheStatistics()
  const memory = new MemoryTier(name, options, events, dependencies.memory)
  const entries = new Entries(options, dependencies)
  const tiers = new Tiers(options, dependencies, entries, memory, statistics)
  const loader = new Loader(options, dependencies, entries, memory, statistics)
  const singleFlight = new SingleFlight(
    applied,
    lease,
    clock,
    (key) => entries.ownSlots(key),
    ({ kept }) => loader.mayKeep(kept),
  )
  const answers = new Answers(name, dependencies, entries, statistics)
  const failSafe = new FailSafe(name, dependencies, memory, statistics)
  const cluster = new ClusterSingleFlight(dependencies, entries, tiers)
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
    misses: new Misses(name, dependencies, singleFlight, tiers, failSafe, answers, statistics),
    eager: new EagerRefresh(singleFlight, tiers, cluster, single, memory, statistics, clock),
    oneTier: new OneTierReads(lease, tiers, loader, singleFlight),
    uncached: new UncachedReads(name, statistics),
    writes: new CacheWrites(options, dependencies, entries, tiers, loader),
  }
}
