import type { Tier } from '../../journal/consistency.js'
import type { Lease } from '../../journal/lease.js'
import { NotInTierError } from '../cache-errors.js'
import type { Read } from '../cache-options.js'
import type { Tiers } from '../entries/tiers.js'
import { outerLoad } from './load-scope.js'
import type { Loader } from './loader.js'
import { type ReadResult, type SingleFlight, Waiter } from './single-flight.js'

/** For tests and the demo: a read of one tier alone, which never falls through to another. */
export class OneTierReads {
  constructor(
    private readonly lease: Lease,
    private readonly tiers: Tiers,
    private readonly loader: Loader,
    private readonly singleFlight: SingleFlight,
  ) {}

  /**
   * @throws NotInTierError if the tier has no fresh value
   * @throws what the factory throws
   */
  async fetch(read: Read, tier: Tier): Promise<ReadResult> {
    const { key, entry: options } = read
    if (tier === 'database') {
      const waiter = new Waiter(outerLoad())
      try {
        const call = this.singleFlight.startAlone(key, true, waiter)
        const { entry, staleness } = await this.loader.load(read, call)
        return { entry, source: 'bypass', staleness }
      } finally {
        waiter.leave()
      }
    }
    const found = tier === 'l1' ? this.tiers.inMemory(key, options) : await this.tiers.inShared(key, options)
    if (!found || !this.lease.holds()) throw new NotInTierError(tier)
    return found
  }
}
