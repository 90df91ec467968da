import { QueryFailedError } from 'typeorm'

/** Somebody else changed the row after it was read. The command may be run again from its start. */
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

/** A programming error in a module: the unit of work was asked for something that would lose an event. */
export class UnitOfWorkError extends Error {
  override readonly name = 'UnitOfWorkError'
}

/** The connection broke during COMMIT: the write may or may not have happened, so it is not run again. */
export class CommitOutcomeUnknownError extends Error {
  override readonly name = 'CommitOutcomeUnknownError'
  constructor(cause: unknown) {
    super('The connection to Postgres broke during COMMIT: the write may or may not have happened', { cause })
  }
}

/** More loads are waiting for a connection than the limit allows. */
export class OverloadedError extends Error {
  override readonly name = 'OverloadedError'
  constructor() {
    super('Too many reads are waiting for the database')
  }
}

/** What Postgres said, if it was Postgres that refused and not the connection to it that failed. */
export function sqlStateOf(error: unknown): string | undefined {
  const cause = error instanceof QueryFailedError ? error.driverError : error
  const code = (cause as { code?: unknown } | null)?.code
  return typeof code === 'string' && /^[0-9A-Z]{5}$/.test(code) && !code.startsWith('E') ? code : undefined
}

/** The constraint that a statement violated, if that is what it failed of. */
export function violatedConstraint(error: unknown): string | undefined {
  if (!sqlStateOf(error)?.startsWith('23')) return undefined
  const cause = error instanceof QueryFailedError ? error.driverError : error
  const name = (cause as { constraint?: unknown }).constraint
  return typeof name === 'string' ? name : undefined
}

/** Whether a statement ended because its connection did, or because Postgres was not there to answer. */
export function isConnectionFailure(error: unknown): boolean {
  const state = sqlStateOf(error)
  // 08: connection exceptions; 57P: the server is shutting down or starting; 53: it is out of resources, such as
  // connections; 25006, 55000: it became a standby; 25P03: it ended a transaction that stood idle.
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
 * Whether a connection's prepared statements are of no use any more: a migration has changed what they would return,
 * or a pooler in between has given them up.
 */
export function isStalePlan(error: unknown): boolean {
  const state = sqlStateOf(error)
  return state === '26000' || (state === '0A000' && /cached plan/.test((error as Error).message))
}

/** Serialisation failure, deadlock, two creations of the same row at once, or a plan that is to be made anew. */
export function isTransientConflict(error: unknown): boolean {
  if (error instanceof ConcurrencyError || isStalePlan(error)) return true
  const state = sqlStateOf(error)
  return state === '40001' || state === '40P01'
}
