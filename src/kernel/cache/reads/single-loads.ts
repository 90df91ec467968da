import type { Clock } from '../../clock.js'
import type { Read } from '../cache-options.js'
import type { Tiers } from '../entries/tiers.js'
import type { ClusterSingleFlight } from './cluster-single-flight.js'
import type { Loader, LoadWaiters } from './loader.js'
import type { Route } from './misses.js'
import type { Call, ReadResult } from './single-flight.js'

/** One key at a time. */
export class SingleLoads implements Route {
  constructor(
    private readonly tiers: Tiers,
    private readonly cluster: ClusterSingleFlight,
    private readonly loader: Loader,
    private readonly clock: Clock,
  ) {}

  run(read: Read, call: Call): Promise<ReadResult> {
    const askedAt = this.clock.now()
    const copied = this.tiers.copyFromShared(read.key, read.entry)
    return copied.then((copy) => copy ?? this.#loadOnce(read, call, askedAt))
  }

  #loadOnce(read: Read, call: Call, askedAt: number): Promise<ReadResult> {
    const { key, entry } = read
    const load = () => this.load(read, call)
    return this.cluster.applies(key, entry) ? this.cluster.fetch(key, entry, load, askedAt, call) : load()
  }

  async bypass(read: Read, waiters: LoadWaiters): Promise<ReadResult> {
    return { ...(await this.load(read, waiters)), source: 'bypass' }
  }

  async load(read: Read, waiters: LoadWaiters, eager = false): Promise<ReadResult> {
    const { entry, options, storable, staleness } = await this.loader.load(read, waiters, eager)
    if (storable) await this.tiers.storeLoaded([[read.key, entry, options]])
    else if (!staleness) this.tiers.overtaken(read.key, entry)
    return { entry, source: 'miss', staleness }
  }
}
