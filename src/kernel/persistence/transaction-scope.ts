import type { EntityManager } from 'typeorm'
import { ambient, runAsPartOf } from '../ambient.js'
import type { DomainEvent } from '../domain/domain-event.js'
import { UnitOfWorkError } from './persistence-errors.js'
import type { TrackedAggregates } from './tracked-aggregates.js'

declare module '../ambient.js' {
  interface Ambient {
    readonly transaction?: TransactionScope
  }
}

/** What all scopes of one transaction share. */
export interface TransactionResources {
  readonly manager: EntityManager
  /** Resolves when Postgres has begun the transaction. */
  readonly begun: Promise<unknown>
  readonly aggregates: TrackedAggregates
  /** Whether rows are locked as they are loaded. */
  readonly lockReads: boolean
  /** Writes events to the outbox, in this transaction and its present savepoint. */
  writeEvents(events: readonly DomainEvent[]): Promise<void>
  /** Told of events that a statement of its own has put into the outbox. */
  eventsWritten(count: number): void
}

type Work<Result> = (resources: TransactionResources) => Promise<Result>

/**
 * A transaction, from START TRANSACTION to its end, or a savepoint within one. Statements of one connection run in
 * the order in which they are sent, whoever sends them: work that outlives its scope would run after the ROLLBACK,
 * in autocommit, and work beside an open savepoint would be rolled back with it, or released by it. Both are
 * refused, and a scope ends only when nothing of it is still running.
 */
export class TransactionScope {
  #open = true
  #inner: TransactionScope | undefined
  readonly #running = new Set<Promise<unknown>>()

  /** @param begin called before each statement of the scope; its first call opens the scope's savepoint */
  constructor(
    readonly resources: TransactionResources,
    private readonly outer?: TransactionScope,
    readonly begin?: () => Promise<void>,
  ) {
    if (outer) outer.#inner = this
  }

  /**
   * Runs one step of the scope's work.
   *
   * @throws UnitOfWorkError if the scope cannot take any
   * @throws what Postgres throws where the transaction could not begin: sent after that, a write would commit by itself
   */
  step<Result>(work: Work<Result>): Promise<Result> {
    return this.#run(work, this.resources.begun)
  }

  /** The same for a step that only reads: it goes out along with START TRANSACTION, which saves its way there and back. */
  read<Result>(work: Work<Result>): Promise<Result> {
    return this.#run(work)
  }

  async #run<Result>(work: Work<Result>, begun?: Promise<unknown>): Promise<Result> {
    this.assertUsable()
    const ready = this.begin?.() ?? begun
    const running = ready ? ready.then(() => work(this.resources)) : work(this.resources)
    this.#running.add(running)
    try {
      return await running
    } finally {
      this.#running.delete(running)
    }
  }

  /**
   * Takes no further steps, and waits for those under way.
   *
   * @returns whether there were any: a promise that nobody awaited
   */
  async close(): Promise<boolean> {
    this.#open = false
    const abandoned = this.#running.size > 0 || this.#inner !== undefined
    await this.#inner?.close()
    while (this.#running.size > 0) await Promise.allSettled(this.#running)
    return abandoned
  }

  /** After the savepoint was released or rolled back: the outer scope goes on. */
  leave(): void {
    if (this.outer) this.outer.#inner = undefined
  }

  /** @throws UnitOfWorkError if the scope has ended, or a savepoint in it has not */
  assertUsable(): void {
    if (!this.#open) {
      throw new UnitOfWorkError('The unit of work has ended: a promise in its handler was not awaited')
    }
    if (this.#inner) {
      throw new UnitOfWorkError('A savepoint is open: await it before other work in the same unit of work')
    }
  }
}

export function runInScope<Result>(scope: TransactionScope, work: () => Promise<Result>): Promise<Result> {
  return runAsPartOf({ transaction: scope }, work)
}

/** Undefined outside a unit of work. */
export function currentScope(): TransactionScope | undefined {
  return ambient()?.transaction
}

/** @throws UnitOfWorkError outside a unit of work */
export function requireScope(): TransactionScope {
  const scope = currentScope()
  if (!scope) {
    throw new UnitOfWorkError(
      'No unit of work is active: aggregates are loaded and saved by command handlers',
    )
  }
  return scope
}

/** One step of the running unit of work. @throws UnitOfWorkError if there is none that takes it */
export async function inScope<Result>(work: Work<Result>): Promise<Result> {
  return requireScope().step(work)
}

/** The same for one that only reads. */
export async function readInScope<Result>(work: Work<Result>): Promise<Result> {
  return requireScope().read(work)
}
