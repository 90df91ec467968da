import { z } from 'zod'

/**
 * The versions of an aggregate that a write accepts: one of a list, or `any`, if it exists. Without a precondition it accepts
 * whatever there is. Part of a command, and given to the store that loads the aggregate.
 */
export const Precondition = z.union([z.literal('any'), z.array(z.number().int())]).optional()
export type Precondition = z.output<typeof Precondition>

/** Somebody else has written since the client read. Over HTTP this is a 412. */
export class PreconditionFailedError extends Error {
  override readonly name = 'PreconditionFailedError'
}

/** @throws PreconditionFailedError if there is no aggregate, or its version is none of those that are accepted */
export function assertPrecondition(
  precondition: Precondition,
  aggregate: { readonly version: number } | undefined,
): void {
  if (precondition === undefined) return
  if (!aggregate) throw new PreconditionFailedError('The resource does not exist')
  if (precondition !== 'any' && !precondition.includes(aggregate.version)) {
    throw new PreconditionFailedError(`The version is ${aggregate.version}, which If-Match does not name`)
  }
}
