import { QueryFailedError } from 'typeorm'

/** Another transaction changed the row after it was read. The command can run again from the start. */
export class ConcurrencyError extends Error {
  override readonly name = 'ConcurrencyError'
  constructor(readonly aggregate: string) {
    super(`${aggregate} was changed by somebody else meanwhile`)
  }
}

export class AggregateNotFoundError extends Error {
  override readonly name = 'AggregateNotFoundError'
  constructor(
    readonly aggregate: string,
    readonly id: string,
  ) {
    super(`There is no ${aggregate} ${id}`)
  }
}

/** A programming error in a module: it used the unit of work in a way that could lose an event or a write. */
export class UnitOfWorkError extends Error {
  override readonly name = 'UnitOfWorkError'
}

/** The connection broke during COMMIT. The write may have happened, so the command is not run again. */
export class CommitOutcomeUnknownError extends Error {
  override readonly name = 'CommitOutcomeUnknownError'
  constructor(cause: unknown) {
    super('The connection to Postgres broke during COMMIT: the write may or may not have happened', { cause })
  }
}

/** More reads are waiting for a connection than the limit allows. */
export class OverloadedError extends Error {
  override readonly name = 'OverloadedError'
  constructor() {
    super('Too many reads are waiting for the database')
  }
}

/** The SQLSTATE of an error from Postgres; undefined for other errors, such as that of a broken connection. */
export function sqlStateOf(error: unknown): string | undefined {
  const cause = error instanceof QueryFailedError ? error.driverError : error
  const code = (cause as { code?: unknown } | null)?.code
  return typeof code === 'string' && /^[0-9A-Z]{5}$/.test(code) && !code.startsWith('E') ? code : undefined
}

/** The constraint that a statement violated, if it failed for that reason. */
export function violatedConstraint(error: unknown): string | undefined {
  if (!sqlStateOf(error)?.startsWith('23')) return undefined
  const cause = error instanceof QueryFailedError ? error.driverError : error
  const name = (cause as { constraint?: unknown }).constraint
  return typeof name === 'string' ? name : undefined
}

/** Whether a statement failed because its connection broke or Postgres was not available. */
export function isConnectionFailure(error: unknown): boolean {
  const state = sqlStateOf(error)
  // 08: connection exceptions; 57P: the server is shutting down or starting; 53: it lacks resources, such as connections;
  // 25006, 55000: it became a standby; 25P03: it ended a transaction that was idle for too long.
  if (state !== undefined) return /^(08|57P|53|25006|25P03|55000)/.test(state)
  if (error instanceof QueryFailedError) return true
  if (!(error instanceof Error)) return false
  const code = (error as NodeJS.ErrnoException).code ?? ''
  return (
    /^E[A-Z_]+$/.test(code) ||
    /^(Connection terminated|timeout ex(ceeded|pired)|Query read timeout|Client (was closed|has encountered))/.test(
      error.message,
    )
  )
}

/**
 * Whether the prepared statements of a connection can no longer be used: a migration has changed what they return, or a
 * connection pooler in between has dropped them.
 */
export function isStalePlan(error: unknown): boolean {
  const state = sqlStateOf(error)
  return state === '26000' || (state === '0A000' && /cached plan/.test((error as Error).message))
}

/**
 * Whether it makes sense to run the command again: after a serialisation failure or a deadlock, if another transaction changed
 * or created the same row, or if a prepared statement was out of date.
 */
export function isTransientConflict(error: unknown): boolean {
  if (error instanceof ConcurrencyError || isStalePlan(error)) return true
  const state = sqlStateOf(error)
  return state === '40001' || state === '40P01'
}
