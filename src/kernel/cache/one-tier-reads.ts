import type { Tier } from '../journal/consistency.js'
import type { Lease } from '../journal/lease.js'
import { NotInTierError } from './cache-errors.js'
import type { Read } from './cache-options.js'
import { type Flights, type Landing, Seat } from './flights.js'
import { outerLoad } from './load-scope.js'
import type { Loader } from './loader.js'
import type { Tiers } from './tiers.js'

/** For tests and the demo: a read of one tier alone, which never falls through to another. */
export class OneTierReads {
  constructor(
    private readonly lease: Lease,
    private readonly tiers: Tiers,
    private readonly loader: Loader,
    private readonly flights: Flights,
  ) {}

  /**
   * @throws NotInTierError if the tier has no fresh value
   * @throws what the factory throws
   */
  async fetch(read: Read, tier: Tier): Promise<Landing> {
    const { key, entry: options } = read
    if (tier === 'database') {
      const seat = new Seat(outerLoad())
      try {
        const flight = this.flights.boardAlone(key, true, seat)
        const { entry, staleness } = await this.loader.load(read, flight)
        return { entry, source: 'bypass', staleness }
      } finally {
        seat.leave()
      }
    }
    const found = tier === 'l1' ? this.tiers.inMemory(key, options) : await this.tiers.inShared(key, options)
    if (!found || !this.lease.holds()) throw new NotInTierError(tier)
    return found
  }
}
