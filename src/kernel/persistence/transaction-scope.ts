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

/** What a transaction and its savepoints share. */
export interface TransactionResources {
  readonly manager: EntityManager
  /** Resolves when Postgres has started the transaction. */
  readonly begun: Promise<unknown>
  readonly aggregates: TrackedAggregates
  /** Whether rows are locked when they are loaded. */
  readonly lockReads: boolean
  /** Writes events to the outbox, in this transaction and its present savepoint. */
  writeEvents(events: readonly DomainEvent[]): Promise<void>
  /** Must be called for events that another statement than that of `writeEvents` has put into the outbox. */
  eventsWritten(count: number): void
}

type Work<Result> = (resources: TransactionResources) => Promise<Result>

/**
 * A transaction, or a savepoint within one. Statements of one connection run in the order in which they are sent. So work that
 * is still running after its scope has ended would run after the ROLLBACK, in autocommit. And work of the outer scope while
 * a savepoint is open would be rolled back or released with it. Both are refused, and a scope waits for its running work
 * before it ends.
 */
export class TransactionScope {
  #open = true
  #inner: TransactionScope | undefined
  readonly #running = new Set<Promise<unknown>>()

  /** @param begin is called before each step of the scope; its first call opens the scope's savepoint */
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
   * @throws UnitOfWorkError if the scope has ended or a savepoint in it is open
   * @throws what Postgres throws if the transaction could not start: a write sent after that would commit by itself
   */
  step<Result>(work: Work<Result>): Promise<Result> {
    return this.#run(work, this.resources.begun)
  }

  /** Runs a step that only reads. It is sent along with START TRANSACTION, which saves a round trip. */
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
   * Refuses further steps, and waits for those that are running.
   *
   * @returns whether any was running, which means that the handler did not await a promise
   */
  async close(): Promise<boolean> {
    this.#open = false
    const abandoned = this.#running.size > 0 || this.#inner !== undefined
    await this.#inner?.close()
    while (this.#running.size > 0) await Promise.allSettled(this.#running)
    return abandoned
  }

  /** Must be called after the savepoint was released or rolled back. The outer scope then accepts steps again. */
  leave(): void {
    if (this.outer) this.outer.#inner = undefined
  }

  /** @throws UnitOfWorkError if the scope has ended or a savepoint in it is open */
  assertUsable(): void {
    if (!this.#open) {
      throw new UnitOfWorkError('The unit of work has ended: its handler did not await a promise')
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
      'No unit of work is active: only handlers of commands and events can load and save aggregates',
    )
  }
  return scope
}

/** Runs a step of the present unit of work. @throws UnitOfWorkError if there is none, or if it cannot take the step */
export async function inScope<Result>(work: Work<Result>): Promise<Result> {
  return requireScope().step(work)
}

/** Like `inScope`, for a step that only reads. */
export async function readInScope<Result>(work: Work<Result>): Promise<Result> {
  return requireScope().read(work)
}
