import { isDeepStrictEqual } from 'node:util'
import type {
  EntityManager,
  EntityMetadata,
  FindOptionsWhere,
  ObjectLiteral,
  QueryDeepPartialEntity,
} from 'typeorm'
import type { AggregateRoot } from '../domain/aggregate-root.js'
import type { DomainEvent } from '../domain/domain-event.js'
import { assertPrecondition, type Precondition } from '../domain/precondition.js'
import { AggregateStatements } from './aggregate-statements.js'
import {
  AggregateNotFoundError,
  ConcurrencyError,
  UnitOfWorkError,
  violatedConstraint,
} from './persistence-errors.js'
import { columnsOf } from './tracked-aggregates.js'
import { inScope, readInScope, requireScope } from './transaction-scope.js'

const forUpdate = { lock: { mode: 'pessimistic_write' } } as const

/** Loads and saves the aggregates of one class. Outside of a unit of work every method rejects. */
export class AggregateStore<Aggregate extends AggregateRoot> {
  constructor(private readonly type: new () => Aggregate) {}

  /**
   * Finds an aggregate by its primary key, also one of which only the row is left (`SoftDeletableAggregate`).
   *
   * @param precondition that of the command
   * @throws PreconditionFailedError if it does not hold; without an aggregate that exists, only no precondition does
   */
  async find(id: string, precondition?: Precondition): Promise<Aggregate | undefined> {
    const found = await this.#find(id)
    this.#assert(precondition, found?.exists ? found : undefined)
    return found
  }

  #assert(precondition: Precondition, aggregate: Aggregate | undefined): void {
    if (precondition === undefined) return
    requireScope().resources.aggregates.checked.add(precondition)
    assertPrecondition(precondition, aggregate)
  }

  #find(id: string): Promise<Aggregate | undefined> {
    return readInScope(async ({ manager, aggregates, lockReads }) => {
      const metadata = this.#metadata(manager)
      const known = aggregates.find<Aggregate>(metadata, id)
      if (known) return known
      const prepared = AggregateStatements.of(metadata)
      if (prepared) {
        const found = await prepared.find(manager, id, lockReads)
        return found && aggregates.load(metadata, found as Aggregate)
      }
      const [key] = metadata.primaryColumns
      const where = { [key?.propertyName ?? 'id']: id } as FindOptionsWhere<Aggregate>
      const loaded = await manager.findOne<Aggregate>(this.type, { where, ...(lockReads && forUpdate) })
      return loaded ? aggregates.load(metadata, loaded) : undefined
    })
  }

  /**
   * As `find`, for an aggregate that has to exist.
   *
   * @throws AggregateNotFoundError
   * @throws PreconditionFailedError
   */
  async get(id: string, precondition?: Precondition): Promise<Aggregate> {
    const found = await this.#find(id)
    if (!found?.exists) throw new AggregateNotFoundError(this.type.name, id)
    this.#assert(precondition, found)
    return found
  }

  findBy(where: FindOptionsWhere<Aggregate>): Promise<Aggregate[]> {
    return readInScope(async ({ manager, aggregates, lockReads }) => {
      const metadata = this.#metadata(manager)
      const rows = await manager.find<Aggregate>(this.type, { where, ...(lockReads && forUpdate) })
      return rows.map((row) => aggregates.load(metadata, row))
    })
  }

  /** Inserts a new aggregate and writes its events. */
  add(aggregate: Aggregate): Promise<void> {
    return inScope(async ({ manager, aggregates, writeEvents }) => {
      const metadata = this.#metadata(manager)
      const events = aggregate.uncommittedEvents.slice()
      refuseSilence(aggregate, events, 'added')
      aggregates.add(metadata, aggregate)
      aggregate.version = 1
      const sent = Object.entries(columnsOf(metadata, aggregate)).filter(([, value]) => value !== undefined)
      try {
        await manager.insert(this.type, aggregate as unknown as QueryDeepPartialEntity<Aggregate>)
      } catch (error) {
        // Two commands that found no row both insert one. The later command runs again, and then finds the row.
        if (violatedConstraint(error) === `${metadata.tableName}_pkey`)
          throw new ConcurrencyError(this.type.name)
        throw error
      }
      await writeEvents(events)
      // Values that the database sets, such as defaults, came back with its reply.
      const stored = { ...columnsOf(metadata, aggregate), ...Object.fromEntries(sent) }
      aggregates.written(aggregate, stored, events.length)
    })
  }

  /**
   * Updates the columns that have changed and writes the events raised since the last save. Does nothing if there are neither.
   *
   * @throws ConcurrencyError if another transaction has changed the row since it was loaded
   * @throws UnitOfWorkError if the aggregate has changed but raised no event: no cache would hear of the change
   */
  save(aggregate: Aggregate): Promise<void> {
    return inScope(async ({ manager, aggregates, writeEvents, eventsWritten }) => {
      const { metadata, stored, written } = aggregates.get(aggregate)
      const events = aggregate.uncommittedEvents.slice(written)
      const now = columnsOf(metadata, aggregate)
      const changes = differences(now, stored)
      if (changes === undefined && events.length === 0) return
      refuseSilence(aggregate, events, 'changed')
      const expected = aggregate.version
      const saved = () => {
        aggregate.version = expected + 1
        aggregates.written(aggregate, { ...now, version: expected + 1 }, written + events.length)
      }
      const prepared = AggregateStatements.of(metadata)
      if (prepared) {
        const next = { ...changes, version: expected + 1 }
        if (!(await prepared.update(manager, aggregate, next, expected, events)))
          throw new ConcurrencyError(this.type.name)
        eventsWritten(events.length)
        return saved()
      }
      const { affected } = await manager
        .createQueryBuilder()
        .update(this.type)
        .set({ ...changes, version: expected + 1 } as unknown as QueryDeepPartialEntity<Aggregate>)
        .where(this.#rowAt(metadata, aggregate, expected))
        .updateEntity(false)
        .execute()
      if (affected !== 1) throw new ConcurrencyError(this.type.name)
      await writeEvents(events)
      saved()
    })
  }

  /**
   * Deletes the row and writes the events raised since the last save.
   *
   * @throws ConcurrencyError if another transaction has changed the row since it was loaded
   * @throws UnitOfWorkError if the aggregate has raised no event since the last save
   */
  remove(aggregate: Aggregate): Promise<void> {
    return inScope(async ({ manager, aggregates, writeEvents }) => {
      const { metadata, written } = aggregates.get(aggregate)
      const events = aggregate.uncommittedEvents.slice(written)
      const stored = columnsOf(metadata, aggregate)
      refuseSilence(aggregate, events, 'removed')
      const { affected } = await manager
        .createQueryBuilder()
        .delete()
        .from(this.type)
        .where(this.#rowAt(metadata, aggregate, aggregate.version))
        .execute()
      if (affected !== 1) throw new ConcurrencyError(this.type.name)
      await writeEvents(events)
      aggregates.written(aggregate, stored, written + events.length)
      aggregates.removed(aggregate)
    })
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
  const changed = Object.entries(now).filter(([name, value]) => !isSame(value, stored[name]))
  return changed.length > 0 ? Object.fromEntries(changed) : undefined
}

function isSame(one: unknown, other: unknown): boolean {
  return Object.is(one, other) || isDeepStrictEqual(one, other)
}
