import type { FastifyInstance } from 'fastify'
import { createDataSource } from '../ormconfig.js'
import type { Config } from './config.js'
import { createParts, modules, type NodeParts, type Wrappers } from './container.js'
import type { ServiceModule } from './kernel/cqrs/module.js'
import type { Health } from './kernel/http/health.js'
import { createServer } from './kernel/http/server.js'
import type { Logger } from './kernel/observability/logger.js'
import { hasAllMigrations, migrate } from './kernel/persistence/migrate.js'
import { isConnectionFailure } from './kernel/persistence/persistence-errors.js'
import { checkRights, reasonOf } from './kernel/persistence/rights.js'

type Phase = 'starting' | 'serving' | 'stopping'

/** Milliseconds between two attempts to reach Postgres, or to find the schema migrated, at start. */
const retryMs = 500

/** Of the time for stopping, what requests under way may take; the rest is for dispatching what they have committed. */
const answersShare = 0.6

/** Milliseconds that one statement of a migration may take. */
const migrationTimeoutMs = 3_600_000

/** One node: everything that `container.ts` wires, started in the order that the promises need, and stopped in reverse. */
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

  /** Where the node listens; undefined before `start`. */
  get url(): string | undefined {
    const address = this.#server?.server.address()
    return typeof address === 'object' && address ? `http://${this.config.HOST}:${address.port}` : undefined
  }

  /**
   * Listens at once, so that liveness and readiness can be asked for, and serves once migrations have run and
   * a first check has succeeded. Waits for Postgres as long as it takes; never for Redis.
   *
   * @throws if the port is taken, a migration fails, or the role lacks rights (MissingRightsError)
   */
  start(): Promise<void> {
    this.#starting ??= this.#start()
    return this.#starting
  }

  async #start(): Promise<void> {
    // Not waited for, now or ever; begun first, so that it is usually there when the node is ready.
    this.parts.redis?.connect().catch(() => {})
    // Beside one another: the one computes while the other waits for Postgres.
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
    const { subscriber, eventHandlers, retention } = this.parts
    await subscriber.start()
    for (const runner of eventHandlers) runner.start()
    retention.start()
    if (this.#stop.signal.aborted) return
    this.#phase = 'serving'
    this.logger.info({ url: this.url, position: this.parts.applied.position }, 'ready')
  }

  /**
   * Takes no new requests, answers those under way, dispatches what they have committed, and closes. Each
   * step needs what the later ones close.
   */
  async stop(): Promise<void> {
    this.#phase = 'stopping'
    this.#stop.abort()
    const { eventHandlers, retention, dispatcher, check, subscriber, redis, journal, dataSource } = this.parts
    await this.#server?.close()
    // What is being started now could otherwise go on over closed connections.
    await this.#starting?.catch(() => {})
    await Promise.all([retention.stop(), ...eventHandlers.map((runner) => runner.stop())])
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
        // A lease is proof that Postgres has answered within the bound.
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
      surroundings: { commandBus, queryBus },
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

  /** Everything at the start that needs Postgres, tried until it succeeds or the node is stopped. */
  async #reachPostgres(): Promise<void> {
    const { signal } = this.#stop
    for (let attempt = 1; !signal.aborted; attempt++) {
      try {
        if (await this.#prepare()) return
        if (attempt % 10 === 1)
          this.logger.warn('migrations are pending and RUN_MIGRATIONS is false: waiting for them')
      } catch (error) {
        if (!isConnectionFailure(error)) throw error
        if (attempt % 10 === 1)
          this.logger.warn({ err: error }, 'Postgres cannot be reached yet, trying again')
      }
      await this.parts.surroundings.clock.sleep(retryMs, signal)
    }
  }

  /** @returns false while migrations are pending that this node is not to run */
  async #prepare(): Promise<boolean> {
    const { dataSource, installation, journal, deliveries, handlers, check } = this.parts
    if (!dataSource.isInitialized) await this.#initialize()
    const missing = await checkRights(dataSource)
    this.#migrated ||= await hasAllMigrations(dataSource)
    if (this.config.RUN_MIGRATIONS && !this.#migrated) await this.#migrate()
    this.#migrated ||= this.config.RUN_MIGRATIONS
    if (!this.#migrated) return false
    if (missing.length > 0)
      this.logger.warn({ missing }, 'the role lacks rights in Postgres: what needs them will fail')
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

  /** On connections of their own: a migration may take longer than a request ever should. */
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
