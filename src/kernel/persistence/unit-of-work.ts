import type { EntityManager, QueryRunner } from 'typeorm'
import type { AggregateRoot } from '../domain/aggregate-root.js'
import type { DomainEvent } from '../domain/domain-event.js'
import type { ConsistencyToken } from '../journal/consistency-token.js'
import { insertOutboxMessages } from '../outbox/outbox-message.js'
import { AggregateStore } from './aggregate-store.js'
import { type Connections, inOneWrite, type PooledClient } from './connections.js'
import {
  CommitOutcomeUnknownError,
  isConnectionFailure,
  sqlStateOf,
  UnitOfWorkError,
} from './persistence-errors.js'
import { TrackedAggregates } from './tracked-aggregates.js'
import { currentScope, inScope, requireScope, runInScope, TransactionScope } from './transaction-scope.js'

export interface Committed<Result> {
  readonly result: Result
  /** Whether the transaction put events into the outbox, which the caller must dispatch. */
  readonly hasEvents: boolean
  /** The token that covers these events, if their numbering was sent along with COMMIT. */
  readonly dispatched?: Promise<ConsistencyToken> | undefined
}

/** A transaction that is ready to be committed. */
export interface OpenTransaction {
  readonly connection: Pick<PooledClient, 'query' | 'connection'>
  /** Whether no other call of `run` is under way on this node. */
  readonly isAlone: boolean
  /** Keeps the connection until a statement that was sent after COMMIT is answered. */
  readonly keepUntil: (answered: Promise<unknown>) => void
}

export interface CommitAnswer extends Pick<Committed<unknown>, 'dispatched'> {
  /** What Postgres reports that it has done: COMMIT or ROLLBACK. */
  readonly command: string
}

/** Sends COMMIT for a transaction that has put events into the outbox, and whatever should go out with it. */
export type SendCommit = (transaction: OpenTransaction) => Promise<CommitAnswer>

export interface CommittedEach<Item> {
  /** The items that were rolled back, each by itself, with their errors. */
  readonly failures: ReadonlyMap<Item, unknown>
  readonly hasEvents: boolean
}

/**
 * Saves aggregates and their events in one transaction, and refuses to save one without the other. Modules get no other way
 * to write: neither a repository nor, apart from `changeMany`, an entity manager.
 */
export class UnitOfWork {
  #open = 0

  constructor(
    private readonly connections: Connections,
    private readonly commitEvents: SendCommit = ({ connection }) => connection.query('COMMIT'),
  ) {}

  /**
   * Runs `work` in a transaction, which commits if `work` resolves and rolls back if it rejects. Inside another unit of work,
   * it runs in that transaction, in a savepoint.
   *
   * @param lockReads locks each row when it is loaded. That is slower, but no other writer can be faster then. It is for a
   *   command that has failed because of other writers
   * @throws CommitOutcomeUnknownError if the connection broke during COMMIT
   * @throws UnitOfWorkError if an aggregate holds an event that was not saved
   */
  async run<Result>(work: () => Promise<Result>, lockReads = false): Promise<Committed<Result>> {
    if (currentScope()) return { result: await this.savepoint(work), hasEvents: false }
    return this.connections.borrow(async (runner, client, keepUntil) => {
      this.#open++
      let eventCount = 0
      const begun = begin(runner, client)
      const aggregates = new TrackedAggregates()
      const eventsWritten = (count: number) => {
        eventCount += count
      }
      const scope = new TransactionScope({
        manager: runner.manager,
        begun,
        aggregates,
        lockReads,
        writeEvents: async (events) => {
          await insertOutboxMessages(runner.manager, events)
          eventsWritten(events.length)
        },
        eventsWritten,
      })
      try {
        const result = await runInScope(scope, work)
        if (await scope.close()) throw abandonedWork()
        await begun
        aggregates.refuseUnwrittenEvents()
        const hasEvents = eventCount > 0
        const transaction = { connection: client, isAlone: this.#open === 1, keepUntil }
        const { dispatched } = await commit(runner, () =>
          hasEvents ? this.commitEvents(transaction) : client.query('COMMIT'),
        )
        aggregates.committed()
        return { result, hasEvents, dispatched }
      } catch (error) {
        // Waits for running work first. After the ROLLBACK, its statements would commit by themselves.
        await scope.close()
        await rollback(runner, error)
        throw error
      } finally {
        this.#open--
      }
    })
  }

  /**
   * Runs `work` for each item, one after another, in one transaction, so that all share one COMMIT. Each item has its own
   * aggregates, and a savepoint from its first statement on. An item whose `work` rejects is rolled back alone.
   *
   * @param settle the last step of the transaction
   * @throws what `settle`, the connection or COMMIT throws; nothing is committed then, unless COMMIT's outcome is unknown
   */
  async runEach<Item>(
    items: Iterable<Item>,
    work: (item: Item) => Promise<void>,
    settle: (manager: EntityManager, failures: ReadonlyMap<Item, unknown>) => Promise<void>,
  ): Promise<CommittedEach<Item>> {
    return this.connections.borrow(async (runner, client) => {
      const failures = new Map<Item, unknown>()
      const changed: TrackedAggregates[] = []
      let hasEvents = false
      const begun = begin(runner, client)
      try {
        await begun
        for (const item of items) {
          const aggregates = new TrackedAggregates()
          let wroteEvents = false
          let savepoint: Promise<void> | undefined
          const eventsWritten = (count: number) => {
            wroteEvents ||= count > 0
          }
          const resources = {
            manager: runner.manager,
            begun,
            aggregates,
            lockReads: false,
            writeEvents: async (events: readonly DomainEvent[]) => {
              await insertOutboxMessages(runner.manager, events)
              eventsWritten(events.length)
            },
            eventsWritten,
          }
          const scope = new TransactionScope(resources, undefined, () => {
            savepoint ??= runner.startTransaction()
            return savepoint
          })
          try {
            await runInScope(scope, () => work(item))
            if (await scope.close()) throw abandonedWork()
            aggregates.refuseUnwrittenEvents()
            if (!savepoint) continue
            await runner.commitTransaction()
            changed.push(aggregates)
            hasEvents ||= wroteEvents
          } catch (error) {
            await scope.close()
            if (savepoint) await runner.rollbackTransaction()
            failures.set(item, error)
          }
        }
        await settle(runner.manager, failures)
        await commit(runner, () => client.query('COMMIT'))
        for (const aggregates of changed) aggregates.committed()
        return { failures, hasEvents }
      } catch (error) {
        await rollback(runner, error)
        throw error
      }
    })
  }

  /**
   * Runs `work` in a savepoint. If it rejects, rows, outbox rows and the aggregates in memory are as they were before, so that
   * it can be tried again. Until it ends, the work around it must wait.
   *
   * @throws UnitOfWorkError while another savepoint of the same unit of work is open
   */
  async savepoint<Result>(work: () => Promise<Result>): Promise<Result> {
    const outer = requireScope()
    outer.assertUsable()
    const { resources } = outer
    const { aggregates } = resources
    const runner = resources.manager.queryRunner as QueryRunner
    const scope = new TransactionScope(resources, outer)
    const before = aggregates.savepoint()
    try {
      await outer.begin?.()
      await runner.startTransaction()
      try {
        const result = await runInScope(scope, work)
        if (await scope.close()) throw abandonedWork()
        // Checked here as well as at the outermost COMMIT, so that the error appears in the code that caused it.
        aggregates.refuseUnwrittenEvents(before)
        await runner.commitTransaction()
        return result
      } catch (error) {
        await scope.close()
        await runner.rollbackTransaction()
        aggregates.rollbackTo(before)
        throw error
      }
    } finally {
      scope.leave()
    }
  }

  /** The store for the aggregates of one class, within the present transaction. */
  of<Aggregate extends AggregateRoot>(type: new () => Aggregate): AggregateStore<Aggregate> {
    return new AggregateStore(type)
  }

  /**
   * Changes many rows without loading them. No aggregate raises events for such a change, so the caller passes the events that
   * describe it. They are written first.
   */
  async changeMany<Result>(
    events: readonly [DomainEvent, ...DomainEvent[]],
    change: (manager: EntityManager) => Promise<Result>,
  ): Promise<Result> {
    return inScope(async ({ manager, writeEvents }) => {
      await writeEvents(events)
      return change(manager)
    })
  }
}

function abandonedWork(): UnitOfWorkError {
  return new UnitOfWorkError('The handler ended before its work was done: it did not await a promise')
}

/**
 * Starts a transaction without waiting for the reply, so that the first load is sent along. TypeORM's own method waits. It
 * also sets these two properties, by which TypeORM numbers savepoints. If nobody awaits the promise, its error is ignored.
 */
function begin(runner: QueryRunner, client: PooledClient): Promise<unknown> {
  inOneWrite(client)
  const begun = client.query('START TRANSACTION')
  begun.catch(() => {})
  Object.assign(runner, { isTransactionActive: true, transactionDepth: 1 })
  return begun
}

/**
 * Commits, and throws if Postgres rolled back. If a statement failed and the handler caught its error, Postgres answers COMMIT
 * with ROLLBACK and without an error. TypeORM's own method would take that for a commit, and the write would silently be lost.
 */
async function commit(runner: QueryRunner, send: () => Promise<CommitAnswer>): Promise<CommitAnswer> {
  let answer: CommitAnswer
  try {
    answer = await send()
  } catch (error) {
    if (isConnectionFailure(error)) throw new CommitOutcomeUnknownError(error)
    // 25P02: an earlier statement had failed, so a statement that was sent along with COMMIT was refused.
    if (sqlStateOf(error) === '25P02') throw rolledBack()
    throw error
  }
  ;(runner as { isTransactionActive: boolean }).isTransactionActive = false
  if (answer.command !== 'COMMIT') throw rolledBack()
  return answer
}

function rolledBack(): UnitOfWorkError {
  return new UnitOfWorkError(
    'A statement failed and its error was caught without a savepoint: Postgres has rolled the transaction back',
  )
}

async function rollback(runner: QueryRunner, reason: unknown): Promise<void> {
  // `Connections` closes a connection that failed, and the transaction ends with it.
  const broken = reason instanceof CommitOutcomeUnknownError || isConnectionFailure(reason)
  if (!runner.isTransactionActive || runner.isReleased || broken) return
  try {
    await runner.rollbackTransaction()
  } catch {
    // The first error says more than this one.
  }
}
