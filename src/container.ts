import { Container, type Newable } from 'inversify'
import type { DataSource } from 'typeorm'
import { createDataSource } from '../ormconfig.js'
import type { Config } from './config.js'
import { CacheEvents } from './kernel/cache/cache-events.js'
import { declareCacheInvalidated } from './kernel/cache/cache-invalidated.js'
import type { CacheDependencies } from './kernel/cache/cache-options.js'
import { Caches } from './kernel/cache/caches.js'
import { defaultTotalBytes, MemoryBudget } from './kernel/cache/entries/memory-budget.js'
import { defaultEntryOptions } from './kernel/cache/entry-options.js'
import { RedisTier } from './kernel/cache/shared/redis-tier.js'
import { noSharedTier, type SharedTier } from './kernel/cache/shared/shared-tier.js'
import { systemClock } from './kernel/clock.js'
import { CommandBus } from './kernel/cqrs/command-bus.js'
import { HandlerRegistry } from './kernel/cqrs/handler-registry.js'
import { eventsOf, type ServiceModule } from './kernel/cqrs/module.js'
import { type ModuleService, ModuleServices } from './kernel/cqrs/module-services.js'
import { QueryBus } from './kernel/cqrs/query-bus.js'
import { Faults } from './kernel/faults.js'
import { AppliedJournal } from './kernel/journal/applied-journal.js'
import { ClusterClock } from './kernel/journal/cluster-clock.js'
import { HintCodec } from './kernel/journal/hint.js'
import type { HintChannel } from './kernel/journal/hint-channel.js'
import { Installation } from './kernel/journal/installation.js'
import { InvalidationRules } from './kernel/journal/invalidation-rules.js'
import type { Journal } from './kernel/journal/journal.js'
import { LastInvalidations } from './kernel/journal/last-invalidations.js'
import { Lease } from './kernel/journal/lease.js'
import { NotifyHints, notifyChannelOf } from './kernel/journal/notify-hints.js'
import { PostgresJournal } from './kernel/journal/postgres-journal.js'
import { createRedis } from './kernel/journal/redis-connection.js'
import { RedisHints } from './kernel/journal/redis-hints.js'
import { StalenessCheck } from './kernel/journal/staleness-check.js'
import { Subscriber } from './kernel/journal/subscriber.js'
import type { Logger } from './kernel/observability/logger.js'
import { Dispatcher } from './kernel/outbox/dispatcher.js'
import { EventDeliveries } from './kernel/outbox/event-deliveries.js'
import { EventHandlerRunner } from './kernel/outbox/event-handler-runner.js'
import { Outbox } from './kernel/outbox/outbox.js'
import { Retention } from './kernel/outbox/retention.js'
import { Connections } from './kernel/persistence/connections.js'
import { DatabaseReader } from './kernel/persistence/database-reader.js'
import { isConnectionFailure } from './kernel/persistence/persistence-errors.js'
import { UnitOfWork } from './kernel/persistence/unit-of-work.js'
import { modules } from './service-modules.js'

/** How long a read without a lease waits for the check that renews it, in ms, before it reads the database. */
const renewLeaseMs = 1_000

/** All parts of one node, connected but not started. `Node` starts and stops them. */
export type NodeParts = ReturnType<typeof createParts>

/** Wraps the connections of the protocol to its servers. Tests use this to cause trouble there (`test/kit`). */
export interface Wrappers {
  readonly shared?: (tier: SharedTier) => SharedTier
  readonly hints?: (channel: HintChannel) => HintChannel
  readonly journal?: (journal: Journal) => Journal
}

/**
 * The composition root: only this function knows which class implements which interface.
 *
 * @throws ModuleError if the modules contain a mistake, such as a query without a handler
 */
export function createParts(
  config: Config,
  logger: Logger,
  offered: readonly ServiceModule[] = modules,
  wrappers: Wrappers = {},
) {
  const clock = systemClock
  const events = new CacheEvents(logger)
  const faults = new Faults(config.FAULTS)
  const dataSource: DataSource = createDataSource({
    databaseUrl: config.DATABASE_URL,
    applicationName: config.NODE_NAME,
    poolSize: config.DATABASE_POOL_SIZE,
    timeoutMs: config.DATABASE_TIMEOUT_MS,
    entities: offered.flatMap(({ entities = [] }) => entities),
  })
  const connections = new Connections(dataSource)
  const unitOfWork = new UnitOfWork(connections, (transaction) => dispatcher.commit(transaction))
  const reader = new DatabaseReader(connections, config.LOAD_CONCURRENCY, config.LOAD_QUEUE)

  const container = new Container()
  container.bind(UnitOfWork).toConstantValue(unitOfWork)
  container.bind(DatabaseReader).toConstantValue(reader)
  const installation = new Installation()
  const rules = new InvalidationRules(offered.flatMap(eventsOf))
  declareCacheInvalidated(rules)
  const lease = new Lease(clock, config.MAX_STALENESS_MS)
  const applied = new AppliedJournal(new LastInvalidations(config.INVALIDATION_SLOTS), rules, logger)
  const redis = config.REDIS_URL
    ? createRedis(config.REDIS_URL, config.REDIS_TIMEOUT_MS, config.NODE_NAME)
    : undefined
  // Logged at the level debug only: reads and writes go on without Redis, and readiness reports it.
  redis?.on('error', (error) => logger.debug({ err: error }, 'the connection to Redis failed'))
  const notifyChannel = () => notifyChannelOf(installation)
  const journal = new PostgresJournal({
    databaseUrl: config.DATABASE_URL,
    applicationName: config.NODE_NAME,
    notifyChannel: redis ? undefined : notifyChannel,
    // A check that takes longer than the lease is useless, because the lease counts from its start.
    timeoutMs: config.MAX_STALENESS_MS,
  })
  const ownHints = redis
    ? new RedisHints(
        redis,
        new HintCodec(installation, { encrypted: config.REDIS_ENCRYPTION }),
        clock,
        logger,
      )
    : new NotifyHints(config.DATABASE_URL, notifyChannel, clock, logger)
  const hints = wrappers.hints?.(ownHints) ?? ownHints
  const asked = wrappers.journal?.(journal) ?? journal
  const clusterClock = new ClusterClock(clock)

  const dispatcher = new Dispatcher(asked, applied, hints, faults, clock, logger, (messages) => {
    for (const runner of eventHandlers) runner.wake(messages)
  })
  const dispatch = () => dispatcher.dispatch()
  const checking = { intervalMs: config.CHECK_INTERVAL_MS, replayAtStart: config.REPLAY_AT_START }
  const check = new StalenessCheck(asked, applied, lease, dispatch, clock, logger, checking, clusterClock)
  const subscriber = new Subscriber(hints, applied, check, logger)
  applied.onEpoch(() => {
    connections.replaceAll()
    journal.replaceConnections()
  })

  applied.observe({
    gap: (gap) => events.emit('gap', gap),
    flushed: (flush) => events.emit('flushed', flush),
    epochEntered: (epoch) => events.emit('epochEntered', epoch),
    caughtUp: (from) => events.emit('caughtUp', from),
  })

  const outbox = new Outbox(unitOfWork, dispatcher)
  const tier = redis
    ? new RedisTier(redis, installation, logger, events, {
        maximumPayloadBytes: config.CACHE_MAX_PAYLOAD_BYTES,
        compressAboveBytes: config.CACHE_COMPRESS_ABOVE_BYTES,
        encrypted: config.REDIS_ENCRYPTION,
        clusterClock,
      })
    : noSharedTier
  const dependencies: CacheDependencies = {
    applied,
    lease,
    renewLease: async () => {
      await clock.within(renewLeaseMs, check.run())
      // Fails here if Postgres is gone. If each read had to find that out itself, reads would queue for minutes.
      if (!lease.holds() && isConnectionFailure(check.lastFailure)) throw check.lastFailure
    },
    shared: wrappers.shared?.(tier) ?? tier,
    outbox,
    faults,
    clock,
    clusterClock,
    events,
    memory: new MemoryBudget(config.CACHE_TOTAL_BYTES ?? defaultTotalBytes()),
  }
  const caches = new Caches(dependencies, rules, {
    entry: {
      ...defaultEntryOptions,
      l1TtlMs: config.CACHE_L1_TTL_MS,
      l2TtlMs: config.CACHE_L2_TTL_MS,
    },
    limits: { maxEntries: config.CACHE_MAX_ENTRIES, maxBytes: config.CACHE_MAX_BYTES },
  })
  for (const { caches: declared = [] } of offered) for (const declaration of declared) caches.add(declaration)

  const handlers = new HandlerRegistry(offered)
  const queryBus = new QueryBus(handlers, caches)
  const commandBus = new CommandBus(handlers, unitOfWork, dispatcher, faults, clock, logger)
  container.bind(Caches).toConstantValue(caches)
  container.bind(QueryBus).toConstantValue(queryBus)
  container.bind(CommandBus).toConstantValue(commandBus)
  for (const [settingsClass, values] of config.moduleSettings)
    container.bind<object>(settingsClass as unknown as Newable<object>).toConstantValue(values)
  for (const { bindings } of offered) if (bindings) container.load(bindings)
  const serviceClasses = offered.flatMap(({ services = [] }) => services)
  for (const serviceClass of serviceClasses) container.bind(serviceClass).toSelf().inSingletonScope()
  handlers.construct(container)
  const services = new ModuleServices(
    serviceClasses.map((serviceClass) => container.get<ModuleService>(serviceClass)),
    clock,
    logger,
  )

  const deliveries = new EventDeliveries(connections)
  const eventHandlers = [...handlers.events.values()].map(
    (registered) => new EventHandlerRunner(registered, deliveries, unitOfWork, dispatcher, clock, logger),
  )
  const retention = new Retention(connections, config.OUTBOX_RETENTION_HOURS * 3_600_000, clock, logger)

  return {
    applied,
    caches,
    check,
    clusterClock,
    commandBus,
    connections,
    container,
    dataSource,
    deliveries,
    dispatcher,
    eventHandlers,
    faults,
    handlers,
    installation,
    journal,
    lease,
    outbox,
    queryBus,
    redis,
    retention,
    services,
    subscriber,
    dependencies,
    unitOfWork,
  }
}
