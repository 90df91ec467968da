import { CacheEvents } from '../../src/kernel/cache/cache-events.js'
import { declareCacheInvalidated } from '../../src/kernel/cache/cache-invalidated.js'
import type { CacheDependencies } from '../../src/kernel/cache/cache-options.js'
import { defaultEntryOptions, type EntryOptions } from '../../src/kernel/cache/entry-options.js'
import { HybridCache } from '../../src/kernel/cache/hybrid-cache.js'
import type { SharedTier } from '../../src/kernel/cache/shared/shared-tier.js'
import type { Clock } from '../../src/kernel/clock.js'
import { CommandBus } from '../../src/kernel/cqrs/command-bus.js'
import type { HandlerRegistry } from '../../src/kernel/cqrs/handler-registry.js'
import { Faults } from '../../src/kernel/faults.js'
import { AppliedJournal } from '../../src/kernel/journal/applied-journal.js'
import { ClusterClock } from '../../src/kernel/journal/cluster-clock.js'
import { Consistency } from '../../src/kernel/journal/consistency.js'
import type { ConsistencyToken } from '../../src/kernel/journal/consistency-token.js'
import type { HintChannel } from '../../src/kernel/journal/hint-channel.js'
import { InvalidationRules } from '../../src/kernel/journal/invalidation-rules.js'
import type { Journal } from '../../src/kernel/journal/journal.js'
import { LastInvalidations } from '../../src/kernel/journal/last-invalidations.js'
import { Lease } from '../../src/kernel/journal/lease.js'
import { StalenessCheck } from '../../src/kernel/journal/staleness-check.js'
import { Subscriber } from '../../src/kernel/journal/subscriber.js'
import { Dispatcher } from '../../src/kernel/outbox/dispatcher.js'
import { Outbox } from '../../src/kernel/outbox/outbox.js'
import type { Connections } from '../../src/kernel/persistence/connections.js'
import { isConnectionFailure } from '../../src/kernel/persistence/persistence-errors.js'
import { UnitOfWork } from '../../src/kernel/persistence/unit-of-work.js'
import { silentLogger } from '../support/silent-logger.js'
import { cacheName, mappings, Perform, ThingCreated } from './things.js'

export const maxStalenessMs = 2_000

/** As in the composition root. */
const renewLeaseMs = 1_000

/** Few slots, as a table is made for every node of every run; a seed with which no two names of a run share one. */
const fewSlots = 256
const slotSeed = 1

export interface NodeSettings {
  readonly entry: Partial<EntryOptions>
  readonly replayAtStart: number
  /** Whether checks repeat by themselves, besides those that the scenario asks for. */
  readonly checksByItself: boolean
  readonly busyNodes: boolean
  /** Of the table of last invalidations. */
  readonly slots?: number
}

export interface Dependencies {
  readonly name: string
  readonly journal: Journal
  readonly connections: Connections
  readonly hints: HintChannel
  readonly shared: SharedTier
  readonly clock: Clock
}

/** Everything of one node that takes part in the protocol, wired as in the composition root, over models. */
export class ServiceNode {
  readonly name: string
  readonly applied: AppliedJournal
  readonly check: StalenessCheck
  readonly cache: HybridCache<string | null>
  readonly commandBus: CommandBus
  readonly rules = new InvalidationRules([ThingCreated])
  /** What further caches of the node share with the one that it has. */
  readonly dependencies: CacheDependencies
  readonly unitOfWork: UnitOfWork
  readonly clock: Clock
  readonly #subscriber: Subscriber
  serving = false

  constructor(
    { name, journal, connections, hints, shared, clock }: Dependencies,
    private readonly settings: NodeSettings,
  ) {
    this.name = name
    this.clock = clock
    const faults = new Faults()
    const events = new CacheEvents(silentLogger)
    const { rules } = this
    declareCacheInvalidated(rules)
    const lease = new Lease(clock, maxStalenessMs)
    this.applied = new AppliedJournal(
      new LastInvalidations(settings.slots ?? fewSlots, slotSeed),
      rules,
      silentLogger,
    )
    const clusterClock = new ClusterClock(clock)
    const dispatcher = new Dispatcher(journal, this.applied, hints, faults, clock, silentLogger, () => {})
    this.check = new StalenessCheck(
      journal,
      this.applied,
      lease,
      () => dispatcher.dispatch(),
      clock,
      silentLogger,
      { intervalMs: 400, replayAtStart: settings.replayAtStart },
      clusterClock,
    )
    this.#subscriber = new Subscriber(hints, this.applied, this.check, silentLogger)
    this.unitOfWork = new UnitOfWork(connections, (transaction) =>
      dispatcher.commit(settings.busyNodes ? { ...transaction, isAlone: false } : transaction),
    )
    const outbox = new Outbox(this.unitOfWork, dispatcher)
    this.dependencies = {
      applied: this.applied,
      lease,
      renewLease: async () => {
        await clock.within(renewLeaseMs, this.check.run())
        if (!lease.holds() && isConnectionFailure(this.check.lastFailure)) throw this.check.lastFailure
      },
      shared,
      outbox,
      faults,
      clock,
      clusterClock,
      events,
    }
    this.cache = new HybridCache<string | null>(
      {
        name: cacheName,
        declaration: 'd1',
        maxEntries: 8,
        cacheAbsent: false,
        maxKeyLength: 100,
        entry: { ...defaultEntryOptions, ...settings.entry },
      },
      this.dependencies,
    )
    for (const mapping of mappings) rules.declare(cacheName, mapping)
    const handler = { execute: ({ work }: Perform) => work() }
    const handlers = { commands: new Map([[Perform, { handler }]]) } as unknown as HandlerRegistry
    this.commandBus = new CommandBus(handlers, this.unitOfWork, dispatcher, faults, clock, silentLogger)
  }

  /** Serves once a first check has succeeded, and not before. */
  async start(): Promise<void> {
    for (;;) {
      try {
        if (this.settings.checksByItself) await this.check.start()
        else await this.check.run()
        break
      } catch {
        await this.clock.sleep(500)
      }
    }
    await this.#subscriber.start()
    this.serving = true
  }

  request(token: ConsistencyToken | undefined): Consistency {
    return new Consistency(this.check, this.applied, token)
  }
}
