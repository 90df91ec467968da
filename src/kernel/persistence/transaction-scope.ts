import { AsyncLocalStorage } from 'node:async_hooks'
import type { EntityManager } from 'typeorm'
import type { DomainEvent } from '../domain/domain-event.js'
import { UnitOfWorkError } from './persistence-errors.js'
import type { TrackedAggregates } from './tracked-aggregates.js'

/** One transaction, from START TRANSACTION to the outermost COMMIT or ROLLBACK. */
export interface TransactionScope {
  readonly manager: EntityManager
  readonly aggregates: TrackedAggregates
  /** Whether rows are locked as they are loaded. */
  readonly lockReads: boolean
  /** Writes events to the outbox, in this transaction and its present savepoint. */
  writeEvents(events: readonly DomainEvent[]): Promise<void>
  /** False once the transaction has ended: work that was not awaited must not run on a connection given back. */
  open: boolean
}

const ambient = new AsyncLocalStorage<TransactionScope | undefined>()

export function runInScope<Result>(scope: TransactionScope, work: () => Promise<Result>): Promise<Result> {
  return ambient.run(scope, work)
}

/** Undefined outside a unit of work. */
export function currentScope(): TransactionScope | undefined {
  return ambient.getStore()
}

/** @throws UnitOfWorkError outside a unit of work, or after it has ended */
export function requireScope(): TransactionScope {
  const scope = ambient.getStore()
  if (!scope)
    throw new UnitOfWorkError(
      'No unit of work is active: aggregates are loaded and saved by command handlers',
    )
  if (!scope.open)
    throw new UnitOfWorkError('The unit of work has ended: a promise in its handler was not awaited')
  return scope
}
