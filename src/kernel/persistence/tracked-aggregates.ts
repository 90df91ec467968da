import type { EntityMetadata, ObjectLiteral } from 'typeorm'
import type { AggregateRoot } from '../domain/aggregate-root.js'
import type { Precondition } from '../domain/precondition.js'
import { UnitOfWorkError } from './persistence-errors.js'

export type Columns = Readonly<Record<string, unknown>>

/** What the unit of work knows about one aggregate. */
interface Tracked {
  readonly metadata: EntityMetadata
  /** The row as this transaction last read or wrote it. */
  stored: Columns
  /** How many of the aggregate's events are in the outbox. */
  written: number
  /** Whether its row was deleted. It is no longer found then, but the rollback of a savepoint restores it. */
  removed: boolean
}

/** An aggregate as it was when a savepoint started. */
interface Remembered {
  readonly tracked: Tracked
  readonly columns: Columns
  readonly eventCount: number
}

export type Savepoint = ReadonlyMap<AggregateRoot, Remembered>

/**
 * All aggregates that a transaction has loaded or saved, with one object for each row. Of two objects for a row, the second to
 * be saved would still have the old version, and saving it would fail at every attempt.
 */
export class TrackedAggregates {
  /** The preconditions that an aggregate was compared with. */
  readonly checked = new Set<Precondition>()
  #tracked = new Map<AggregateRoot, Tracked>()
  #byId = new Map<string, AggregateRoot>()
  /** Aggregates as they were when they were added, so that the rollback of a savepoint can restore them. */
  readonly #added = new Map<AggregateRoot, { columns: Columns; eventCount: number }>()

  find<Aggregate extends AggregateRoot>(metadata: EntityMetadata, id: unknown): Aggregate | undefined {
    return this.#byId.get(`${metadata.name}:${id}`) as Aggregate | undefined
  }

  /** Tracks a loaded aggregate, or returns the one that is already tracked for its row. */
  load<Aggregate extends AggregateRoot>(metadata: EntityMetadata, loaded: Aggregate): Aggregate {
    const known = this.find<Aggregate>(metadata, idOf(metadata, loaded))
    if (known) return known
    this.#track(metadata, loaded, columnsOf(metadata, loaded))
    return loaded
  }

  add(metadata: EntityMetadata, aggregate: AggregateRoot): void {
    if (this.#tracked.has(aggregate))
      throw new UnitOfWorkError(`${metadata.name} has been added or loaded before`)
    this.#added.set(aggregate, {
      columns: columnsOf(metadata, aggregate),
      eventCount: aggregate.uncommittedEvents.length,
    })
    this.#track(metadata, aggregate, {})
  }

  /** @throws UnitOfWorkError if the aggregate is not, or no longer, part of this transaction */
  get(aggregate: AggregateRoot): Tracked {
    const tracked = this.#tracked.get(aggregate)
    if (!tracked) {
      throw new UnitOfWorkError(
        `${aggregate.constructor.name} is not part of this unit of work: load it here, or add it (a savepoint ` +
          'that rolled back forgets what it loaded)',
      )
    }
    return tracked
  }

  /**
   * Remembers what was sent to Postgres; the aggregate may have changed since.
   *
   * @param stored the row
   * @param written the number of the aggregate's events
   */
  written(aggregate: AggregateRoot, stored: Columns, written: number): void {
    Object.assign(this.get(aggregate), { stored, written })
  }

  /** Must be called after a DELETE. Another object can then be added or loaded for the row. */
  removed(aggregate: AggregateRoot): void {
    const tracked = this.get(aggregate)
    const { metadata } = tracked
    tracked.removed = true
    this.#byId.delete(`${metadata.name}:${idOf(metadata, aggregate)}`)
  }

  savepoint(): Savepoint {
    return new Map(
      [...this.#tracked].map(([aggregate, tracked]) => [
        aggregate,
        {
          tracked: { ...tracked },
          columns: columnsOf(tracked.metadata, aggregate),
          eventCount: aggregate.uncommittedEvents.length,
        },
      ]),
    )
  }

  /**
   * Restores every aggregate and its events to the start of the savepoint. What was written since is gone, and a retry raises
   * the same events again.
   */
  rollbackTo(savepoint: Savepoint): void {
    for (const [aggregate, tracked] of this.#tracked) {
      const before = savepoint.get(aggregate)
      if (before) {
        restore(tracked.metadata, aggregate, before.columns, before.eventCount)
        continue
      }
      const asAdded = this.#added.get(aggregate)
      if (asAdded) restore(tracked.metadata, aggregate, asAdded.columns, asAdded.eventCount)
      this.#added.delete(aggregate)
    }
    this.#tracked = new Map([...savepoint].map(([aggregate, { tracked }]) => [aggregate, { ...tracked }]))
    this.#byId = new Map(
      [...this.#tracked]
        .filter(([, { removed }]) => !removed)
        .map(([aggregate, { metadata }]) => [`${metadata.name}:${idOf(metadata, aggregate)}`, aggregate]),
    )
  }

  /**
   * @param since ignores events raised before this savepoint, because they may still be saved after it
   * @throws UnitOfWorkError if an aggregate has an event that is not in the outbox
   */
  refuseUnwrittenEvents(since?: Savepoint): void {
    for (const [aggregate, { written }] of this.#tracked) {
      const raisedBefore = since?.get(aggregate)?.eventCount ?? 0
      const unwritten = aggregate.uncommittedEvents.slice(Math.max(written, raisedBefore))
      if (unwritten.length > 0) {
        throw new UnitOfWorkError(
          `${aggregate.constructor.name} raised ${unwritten.map((event) => event.constructor.name).join(', ')} ` +
            'and was not saved afterwards: the transaction is rolled back, because the event would be lost',
        )
      }
    }
  }

  /** Must be called after the outermost COMMIT only, because a released savepoint can still be rolled back with the rest. */
  committed(): void {
    for (const aggregate of this.#tracked.keys()) aggregate.forgetEventsAfter(0)
  }

  #track(metadata: EntityMetadata, aggregate: AggregateRoot, stored: Columns): void {
    this.#tracked.set(aggregate, { metadata, stored, written: 0, removed: false })
    this.#byId.set(`${metadata.name}:${idOf(metadata, aggregate)}`, aggregate)
  }
}

function idOf(metadata: EntityMetadata, aggregate: AggregateRoot): string {
  return metadata.primaryColumns.map((column) => String(column.getEntityValue(aggregate))).join('/')
}

/** Returns a copy of the values, so that a later change inside a JSON column is noticed. */
export function columnsOf(metadata: EntityMetadata, aggregate: AggregateRoot): Columns {
  return Object.fromEntries(
    metadata.columns.map((column) => [
      column.propertyName,
      copyOf(column.getEntityValue(aggregate as ObjectLiteral)),
    ]),
  )
}

/** Uses `structuredClone` only for values that are not JSON: it takes 30 times as long for an array of two words. */
function copyOf(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value
  if (Array.isArray(value)) return value.map(copyOf)
  if (Object.getPrototypeOf(value) !== Object.prototype) return structuredClone(value)
  return Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, copyOf(inner)]))
}

function restore(
  metadata: EntityMetadata,
  aggregate: AggregateRoot,
  columns: Columns,
  eventCount: number,
): void {
  for (const column of metadata.columns) {
    column.setEntityValue(aggregate as ObjectLiteral, copyOf(columns[column.propertyName]))
  }
  aggregate.forgetEventsAfter(eventCount)
}
