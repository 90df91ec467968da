import { isDeepStrictEqual } from 'node:util'
import type {
  EntityManager,
  EntityMetadata,
  FindOptionsWhere,
  ObjectLiteral,
  QueryDeepPartialEntity,
  QueryRunner,
} from 'typeorm'
import type { AggregateRoot } from '../domain/aggregate-root.js'
import type { DomainEvent } from '../domain/domain-event.js'
import { insertOutboxMessages } from '../outbox/outbox-message.js'
import type { Connections } from './connections.js'
import {
  AggregateNotFoundError,
  CommitOutcomeUnknownError,
  ConcurrencyError,
  isConnectionFailure,
  UnitOfWorkError,
  violatedConstraint,
} from './persistence-errors.js'
import { columnsOf, TrackedAggregates } from './tracked-aggregates.js'
import { currentScope, requireScope, runInScope, type TransactionScope } from './transaction-scope.js'

export interface Committed<Result> {
  readonly result: Result
  /** Whether the transaction put events into the outbox that somebody has to dispatch now. */
  readonly hasEvents: boolean
}

/**
 * Saves aggregates and their events in one transaction, and refuses every way to save one without the other.
 * Modules get no repository and no entity manager beside it.
 */
export class UnitOfWork {
  constructor(private readonly connections: Connections) {}

  /**
   * Runs `work` in a transaction, which commits when it resolves and rolls back when it rejects. Inside
   * another unit of work it joins that one, in a savepoint of its own.
   *
   * @param lockReads lock each row as it is loaded: slower, but not to be overtaken again, for a command that
   *   other writers have beaten before
   * @throws CommitOutcomeUnknownError if the connection broke during COMMIT
   * @throws UnitOfWorkError if an aggregate holds an event that was not saved
   */
  async run<Result>(work: () => Promise<Result>, lockReads = false): Promise<Committed<Result>> {
    if (currentScope()) return { result: await this.savepoint(work), hasEvents: false }
    return this.connections.borrow(async (runner) => {
      let eventCount = 0
      const scope: TransactionScope = {
        manager: runner.manager,
        aggregates: new TrackedAggregates(),
        open: true,
        lockReads,
        writeEvents: async (events) => {
          await insertOutboxMessages(runner.manager, events)
          eventCount += events.length
        },
      }
      try {
        await runner.startTransaction()
        const result = await runInScope(scope, work)
        scope.aggregates.refuseUnwrittenEvents()
        await commit(runner)
        scope.aggregates.committed()
        return { result, hasEvents: eventCount > 0 }
      } catch (error) {
        await rollback(runner, error)
        throw error
      } finally {
        scope.open = false
      }
    })
  }

  /**
   * Runs `work` in a savepoint. When it rejects, rows, outbox rows and the aggregates in memory are as they
   * were before it, so that it can be tried again.
   */
  async savepoint<Result>(work: () => Promise<Result>): Promise<Result> {
    const { manager, aggregates } = requireScope()
    const runner = manager.queryRunner as QueryRunner
    const before = aggregates.savepoint()
    await runner.startTransaction()
    try {
      const result = await work()
      // Not at the outermost COMMIT only: the savepoint's own author should hear of it.
      aggregates.refuseUnwrittenEvents(before)
      await runner.commitTransaction()
      return result
    } catch (error) {
      await runner.rollbackTransaction()
      aggregates.rollbackTo(before)
      throw error
    }
  }

  /** The aggregates of one kind, within the running transaction. */
  of<Aggregate extends AggregateRoot>(type: new () => Aggregate): AggregateStore<Aggregate> {
    return new AggregateStore(type)
  }

  /**
   * Changes many rows in one statement, without loading them. Such a change raises no events by itself, so
   * the ones that describe it are given, and are written first.
   */
  async changeMany<Result>(
    events: readonly [DomainEvent, ...DomainEvent[]],
    change: (manager: EntityManager) => Promise<Result>,
  ): Promise<Result> {
    const scope = requireScope()
    await scope.writeEvents(events)
    return change(scope.manager)
  }
}

const forUpdate = { lock: { mode: 'pessimistic_write' } } as const

/** Loads and saves the aggregates of one kind. Rejects outside a unit of work. */
export class AggregateStore<Aggregate extends AggregateRoot> {
  constructor(private readonly type: new () => Aggregate) {}

  /** By primary key. */
  async find(id: string): Promise<Aggregate | undefined> {
    const { manager, aggregates, lockReads } = requireScope()
    const metadata = this.#metadata(manager)
    const known = aggregates.find<Aggregate>(metadata, id)
    if (known) return known
    const [key] = metadata.primaryColumns
    const where = { [key?.propertyName ?? 'id']: id } as FindOptionsWhere<Aggregate>
    const loaded = await manager.findOne<Aggregate>(this.type, { where, ...(lockReads && forUpdate) })
    return loaded ? aggregates.load(metadata, loaded) : undefined
  }

  /** @throws AggregateNotFoundError */
  async get(id: string): Promise<Aggregate> {
    const found = await this.find(id)
    if (!found) throw new AggregateNotFoundError(this.type.name, id)
    return found
  }

  async findBy(where: FindOptionsWhere<Aggregate>): Promise<Aggregate[]> {
    const { manager, aggregates } = requireScope()
    const metadata = this.#metadata(manager)
    const rows = await manager.findBy<Aggregate>(this.type, where)
    return rows.map((row) => aggregates.load(metadata, row))
  }

  /** Inserts a new aggregate and writes its events. */
  async add(aggregate: Aggregate): Promise<void> {
    const { manager, aggregates } = requireScope()
    const metadata = this.#metadata(manager)
    refuseSilence(aggregate, aggregate.uncommittedEvents, 'added')
    aggregates.add(metadata, aggregate)
    aggregate.version = 1
    try {
      await manager.insert(this.type, aggregate as unknown as QueryDeepPartialEntity<Aggregate>)
    } catch (error) {
      // Two commands that found nothing both insert; the later one, run again, finds the row.
      if (violatedConstraint(error) === `${metadata.tableName}_pkey`)
        throw new ConcurrencyError(this.type.name)
      throw error
    }
    await this.#writeEvents(aggregate, 0)
  }

  /**
   * Updates what has changed and writes the events raised since the last save, if there is either.
   *
   * @throws ConcurrencyError if the row is no longer as it was loaded
   * @throws UnitOfWorkError if it has changed and raised no event: no cache would ever hear of it
   */
  async save(aggregate: Aggregate): Promise<void> {
    const { manager, aggregates } = requireScope()
    const { metadata, stored, written } = aggregates.get(aggregate)
    const events = aggregate.uncommittedEvents.slice(written)
    const changes = differences(columnsOf(metadata, aggregate), stored)
    if (changes === undefined && events.length === 0) return
    refuseSilence(aggregate, events, 'changed')
    const expected = aggregate.version
    const { affected } = await manager
      .createQueryBuilder()
      .update(this.type)
      .set({ ...changes, version: expected + 1 } as unknown as QueryDeepPartialEntity<Aggregate>)
      .where(this.#rowAt(metadata, aggregate, expected))
      .updateEntity(false)
      .execute()
    if (affected !== 1) throw new ConcurrencyError(this.type.name)
    aggregate.version = expected + 1
    await this.#writeEvents(aggregate, written)
  }

  /**
   * Deletes the row and writes the events raised since the last save.
   *
   * @throws ConcurrencyError if the row is no longer as it was loaded
   */
  async remove(aggregate: Aggregate): Promise<void> {
    const { manager, aggregates } = requireScope()
    const { metadata, written } = aggregates.get(aggregate)
    refuseSilence(aggregate, aggregate.uncommittedEvents.slice(written), 'removed')
    const { affected } = await manager
      .createQueryBuilder()
      .delete()
      .from(this.type)
      .where(this.#rowAt(metadata, aggregate, aggregate.version))
      .execute()
    if (affected !== 1) throw new ConcurrencyError(this.type.name)
    await this.#writeEvents(aggregate, written)
    aggregates.removed(aggregate)
  }

  async #writeEvents(aggregate: Aggregate, written: number): Promise<void> {
    const { aggregates, writeEvents } = requireScope()
    await writeEvents(aggregate.uncommittedEvents.slice(written))
    aggregates.written(aggregate)
  }

  #metadata(manager: EntityManager): EntityMetadata {
    return manager.connection.getMetadata(this.type)
  }

  #rowAt(metadata: EntityMetadata, aggregate: Aggregate, version: number): FindOptionsWhere<Aggregate> {
    const id = metadata.getEntityIdMap(aggregate as ObjectLiteral)
    return { ...id, version } as unknown as FindOptionsWhere<Aggregate>
  }
}

function refuseSilence(aggregate: AggregateRoot, events: readonly DomainEvent[], what: string): void {
  if (events.length > 0) return
  throw new UnitOfWorkError(
    `${aggregate.constructor.name} was ${what} but raised no event: no cache would hear of it`,
  )
}

function differences(
  now: Readonly<Record<string, unknown>>,
  stored: Readonly<Record<string, unknown>>,
): Record<string, unknown> | undefined {
  const changed = Object.entries(now).filter(([name, value]) => !isDeepStrictEqual(value, stored[name]))
  return changed.length > 0 ? Object.fromEntries(changed) : undefined
}

/**
 * Not TypeORM's own: Postgres answers COMMIT with ROLLBACK, and no error, when a statement of the transaction
 * has failed and the handler swallowed that. Taken for a commit, the write would be lost without a word.
 */
async function commit(runner: QueryRunner): Promise<void> {
  const client = (await runner.connect()) as { query(sql: string): Promise<{ command: string }> }
  let command: string
  try {
    command = (await client.query('COMMIT')).command
  } catch (error) {
    if (isConnectionFailure(error)) throw new CommitOutcomeUnknownError(error)
    throw error
  }
  ;(runner as { isTransactionActive: boolean }).isTransactionActive = false
  if (command !== 'COMMIT') {
    throw new UnitOfWorkError(
      'A statement failed and its error was caught without a savepoint: Postgres has rolled the transaction back',
    )
  }
}

async function rollback(runner: QueryRunner, reason: unknown): Promise<void> {
  // A connection that failed is closed by its lender, and the transaction ends with it.
  const broken = reason instanceof CommitOutcomeUnknownError || isConnectionFailure(reason)
  if (!runner.isTransactionActive || runner.isReleased || broken) return
  try {
    await runner.rollbackTransaction()
  } catch {
    // The first error tells more than this one.
  }
}
