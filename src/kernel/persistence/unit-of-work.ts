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
  /** Whether the transaction put events into the outbox that somebody has to dispatch now. */
  readonly hasEvents: boolean
  /** Their position, if that was asked for along with COMMIT. */
  readonly dispatched?: Promise<ConsistencyToken> | undefined
}

/** One that is ready to be committed. */
export interface OpenTransaction {
  readonly connection: Pick<PooledClient, 'query' | 'connection'>
  /** Whether this node has no other under way. */
  readonly isAlone: boolean
  /** Has the connection kept until what has been sent behind COMMIT is answered. */
  readonly keepUntil: (answered: Promise<unknown>) => void
}

export interface CommitAnswer extends Pick<Committed<unknown>, 'dispatched'> {
  /** What Postgres says it has done. */
  readonly command: string
}

/** Sends COMMIT for a transaction that has put events into the outbox, and what is to go along with it. */
export type SendCommit = (transaction: OpenTransaction) => Promise<CommitAnswer>

export interface CommittedEach<Item> {
  /** Those that were rolled back, each alone, and why. */
  readonly failures: ReadonlyMap<Item, unknown>
  readonly hasEvents: boolean
}

/**
 * Saves aggregates and their events in one transaction, and refuses every way to save one without the other.
 * Modules get no repository and no entity manager beside it.
 */
export class UnitOfWork {
  #open = 0

  constructor(
    private readonly connections: Connections,
    private readonly commitEvents: SendCommit = ({ connection }) => connection.query('COMMIT'),
  ) {}

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
        // Before the ROLLBACK, or what is still running would come after it and be committed by itself.
        await scope.close()
        await rollback(runner, error)
        throw error
      } finally {
        this.#open--
      }
    })
  }

  /**
   * Runs `work` for each item, one after the other, in one transaction, so that all share one COMMIT. Each has
   * aggregates of its own, and a savepoint as soon as it sends a statement: one that rejects is rolled back alone.
   *
   * @param settle the last step of the transaction
   * @throws what `settle`, the connection or COMMIT throws, in which case nothing of any item is committed
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
   * Runs `work` in a savepoint. When it rejects, rows, outbox rows and the aggregates in memory are as they
   * were before it, so that it can be tried again. One at a time: until it ends, the work around it has to wait.
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
        // Not at the outermost COMMIT only: the savepoint's own author should hear of it.
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
    return inScope(async ({ manager, writeEvents }) => {
      await writeEvents(events)
      return change(manager)
    })
  }
}

function abandonedWork(): UnitOfWorkError {
  return new UnitOfWorkError('The handler ended before its work did: a promise in it was not awaited')
}

/**
 * Not TypeORM's own, which waits for the answer: a load that comes next is sent along. The promise may reject
 * unheard. What TypeORM would have noted is noted for it, as savepoints count by that.
 */
function begin(runner: QueryRunner, client: PooledClient): Promise<unknown> {
  inOneWrite(client)
  const begun = client.query('START TRANSACTION')
  begun.catch(() => {})
  Object.assign(runner, { isTransactionActive: true, transactionDepth: 1 })
  return begun
}

/**
 * Not TypeORM's own: Postgres answers COMMIT with ROLLBACK, and no error, when a statement of the transaction
 * has failed and the handler swallowed that. Taken for a commit, the write would be lost without a word.
 */
async function commit(runner: QueryRunner, send: () => Promise<CommitAnswer>): Promise<CommitAnswer> {
  let answer: CommitAnswer
  try {
    answer = await send()
  } catch (error) {
    if (isConnectionFailure(error)) throw new CommitOutcomeUnknownError(error)
    // Of a statement that was sent along with COMMIT, before it.
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
  // A connection that failed is closed by its lender, and the transaction ends with it.
  const broken = reason instanceof CommitOutcomeUnknownError || isConnectionFailure(reason)
  if (!runner.isTransactionActive || runner.isReleased || broken) return
  try {
    await runner.rollbackTransaction()
  } catch {
    // The first error tells more than this one.
  }
}
