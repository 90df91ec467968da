import type { FastifyInstance } from 'fastify'
import { createDataSource } from '../ormconfig.js'
import type { Config } from './config.js'
import { createParts, type NodeParts, type Wrappers } from './container.js'
import type { ServiceModule } from './kernel/cqrs/module.js'
import type { Health } from './kernel/http/health.js'
import { createServer } from './kernel/http/server.js'
import type { Logger } from './kernel/observability/logger.js'
import { hasAllMigrations, migrate } from './kernel/persistence/migrate.js'
import { isConnectionFailure } from './kernel/persistence/persistence-errors.js'
import { checkRights, reasonOf } from './kernel/persistence/rights.js'
import { modules } from './service-modules.js'

type Phase = 'starting' | 'serving' | 'stopping'

/** Milliseconds between two attempts at start to reach Postgres or to find all migrations applied. */
const retryMs = 500

/** The share of the time for stopping that requests under way may take. The rest is for dispatching what they committed. */
const answersShare = 0.6
/** Of the same time, what each service of a module may take to stop. */
const servicesShare = 0.1

/** Milliseconds that one statement of a migration may take. */
const migrationTimeoutMs = 3_600_000

/** One node. It starts the parts from `container.ts` in the order that the promises need, and stops them. */
export class Node {
  readonly parts: NodeParts
  #server: FastifyInstance | undefined
  #phase: Phase = 'starting'
  #migrated = false
  #starting: Promise<void> | undefined
  readonly #stop = new AbortController()

  constructor(
    private readonly config: Config,
    private readonly logger: Logger,
    private readonly offered: readonly ServiceModule[] = modules,
    wrappers: Wrappers = {},
  ) {
    this.parts = createParts(config, logger, offered, wrappers)
  }

  /** The URL at which the node listens; undefined before it does. */
  get url(): string | undefined {
    const address = this.#server?.server.address()
    return typeof address === 'object' && address ? `http://${this.config.HOST}:${address.port}` : undefined
  }

  /**
   * Listens at once, so that health checks get answers, and serves requests once migrations have run and a first check has
   * succeeded. It waits for Postgres as long as it takes, and never for Redis.
   *
   * @throws if the port is taken, a migration fails, or the role lacks rights (MissingRightsError)
   */
  start(): Promise<void> {
    this.#starting ??= this.#start()
    return this.#starting
  }

  async #start(): Promise<void> {
    // Nothing waits for this connection. It is opened first, so that it is usually there when the node is ready.
    this.parts.redis?.connect().catch(() => {})
    // Both run at the same time: creating the server takes processor time while the other waits for Postgres.
    const reached = this.#reachPostgres()
    reached.catch(() => {})
    try {
      await this.#listen()
    } catch (error) {
      this.#stop.abort()
      await Promise.allSettled([reached])
      throw error
    }
    await reached
    if (this.#stop.signal.aborted) return
    const { subscriber, services, eventHandlers, retention } = this.parts
    await subscriber.start()
    await services.start(this.#stop.signal)
    if (this.#stop.signal.aborted) return
    for (const runner of eventHandlers) runner.start()
    retention.start()
    if (this.#stop.signal.aborted) return
    this.#phase = 'serving'
    this.logger.info({ url: this.url, position: this.parts.applied.position }, 'ready')
  }

  /**
   * Refuses new requests, answers those under way, dispatches what they have committed, and closes. Each step needs parts that
   * later steps close.
   */
  async stop(): Promise<void> {
    this.#phase = 'stopping'
    this.#stop.abort()
    const { services, eventHandlers, retention, dispatcher, check } = this.parts
    const { subscriber, redis, journal, dataSource } = this.parts
    await this.#server?.close()
    // Otherwise a start that is still running would go on with closed connections.
    await this.#starting?.catch(() => {})
    await Promise.all([retention.stop(), ...eventHandlers.map((runner) => runner.stop())])
    await services.stop(this.config.SHUTDOWN_TIMEOUT_MS * servicesShare)
    await dispatcher.stop()
    await check.stop()
    await subscriber.stop()
    redis?.disconnect()
    await journal.close()
    if (dataSource.isInitialized) await dataSource.destroy()
    this.logger.info('stopped')
  }

  report(): Health {
    const { applied, lease, redis } = this.parts
    const inStep = lease.holds()
    const status =
      this.#phase === 'starting'
        ? 'starting'
        : this.#phase === 'stopping'
          ? 'stopping'
          : inStep
            ? 'ready'
            : 'out-of-step'
    return {
      status,
      node: this.config.NODE_NAME,
      checks: {
        // A node with a lease has had an answer from Postgres within the bound on staleness.
        postgres: { status: inStep ? 'up' : 'down' },
        redis: { status: redis ? (redis.status === 'ready' ? 'up' : 'down') : 'off' },
        migrations: { status: this.#migrated ? 'done' : 'pending' },
        journal: {
          status: inStep ? 'in-step' : 'out-of-step',
          epoch: applied.epoch,
          applied: applied.position,
          leaseMs: Math.round(lease.remaining()),
        },
      },
    }
  }

  async #listen(): Promise<void> {
    const { commandBus, queryBus, check, applied, faults } = this.parts
    this.#server = await createServer({
      logger: this.logger,
      modules: this.offered,
      routeContext: { commandBus, queryBus },
      consistency: {
        check,
        applied,
        tierHeader: faults.active,
        isServing: () => this.#phase === 'serving',
      },
      health: this,
      connections: {
        maxConnections: this.config.MAX_CONNECTIONS,
        answerTimeoutMs: this.config.ANSWER_TIMEOUT_MS,
        closeTimeoutMs: this.config.SHUTDOWN_TIMEOUT_MS * answersShare,
      },
    })
    await this.#server.listen({ host: this.config.HOST, port: this.config.PORT })
    this.logger.info({ url: this.url }, 'listening')
  }

  /** Does everything at start that needs Postgres. It tries until it succeeds or the node is stopped. */
  async #reachPostgres(): Promise<void> {
    const { signal } = this.#stop
    for (let attempt = 1; !signal.aborted; attempt++) {
      try {
        if (await this.#prepare()) return
        if (attempt % 10 === 1)
          this.logger.warn('migrations are pending and RUN_MIGRATIONS is false: waiting for them')
      } catch (error) {
        if (!isConnectionFailure(error)) throw error
        if (attempt % 10 === 1) this.logger.warn({ err: error }, 'Postgres cannot be reached, trying again')
      }
      await this.parts.dependencies.clock.sleep(retryMs, signal)
    }
  }

  /** @returns false if migrations are pending and this node must not run them */
  async #prepare(): Promise<boolean> {
    const { dataSource, installation, journal, deliveries, handlers, check } = this.parts
    if (!dataSource.isInitialized) await this.#initialize()
    const missing = await checkRights(dataSource)
    this.#migrated ||= await hasAllMigrations(dataSource)
    if (this.config.RUN_MIGRATIONS && !this.#migrated) await this.#migrate()
    this.#migrated ||= this.config.RUN_MIGRATIONS
    if (!this.#migrated) return false
    if (missing.length > 0)
      this.logger.warn({ missing }, 'the role lacks rights in Postgres: writes that need them will fail')
    installation.learn(await journal.installation())
    await deliveries.register([...handlers.events.keys()])
    await check.start()
    return true
  }

  async #initialize(): Promise<void> {
    try {
      await this.parts.dataSource.initialize()
    } catch (error) {
      if (isConnectionFailure(error)) throw error
      throw await reasonOf(error, this.config.DATABASE_URL)
    }
  }

  /** Runs migrations on separate connections, because a migration may take longer than the timeout of requests. */
  async #migrate(): Promise<void> {
    const databaseUrl = this.config.DATABASE_URL
    const dataSource = createDataSource({
      databaseUrl,
      applicationName: `${this.config.NODE_NAME} migrate`,
      poolSize: 2,
      timeoutMs: migrationTimeoutMs,
    })
    await dataSource.initialize()
    try {
      const applied = await migrate(dataSource, databaseUrl)
      if (applied.length > 0) this.logger.info({ applied }, 'migrations applied')
    } finally {
      await dataSource.destroy()
    }
  }
}
