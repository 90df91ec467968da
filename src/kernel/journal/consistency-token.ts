/**
 * How new the data is that a client has seen: a position of an epoch, or *pending* if the newest of it may have no position
 * yet. In HTTP it is written `epoch.position` or `epoch.pending`.
 */
export interface ConsistencyToken {
  readonly epoch: string
  readonly position: number | 'pending'
}

export class InvalidTokenError extends Error {
  override readonly name = 'InvalidTokenError'
  constructor() {
    super('The consistency token is invalid: send it back exactly as this service answered it')
  }
}

const pattern = /^([0-9a-f]{16})\.(pending|0|[1-9]\d{0,15})$/

export function formatToken(token: ConsistencyToken): string {
  return `${token.epoch}.${token.position}`
}

/** @throws InvalidTokenError */
export function parseToken(text: string): ConsistencyToken {
  const match = pattern.exec(text)
  if (!match) throw new InvalidTokenError()
  const [, epoch = '', position = ''] = match
  if (position === 'pending') return { epoch, position }
  const number = Number(position)
  if (!Number.isSafeInteger(number)) throw new InvalidTokenError()
  return { epoch, position: number }
}

/** The token that covers both: the one for an answer that was made from both reads. */
export function strongest(one: ConsistencyToken | undefined, other: ConsistencyToken): ConsistencyToken {
  if (!one) return other
  if (one.position === 'pending') return one
  // Positions of two epochs cannot be compared. A pending token makes the next read ask the database.
  if (other.position === 'pending' || one.epoch !== other.epoch)
    return { epoch: other.epoch, position: 'pending' }
  return other.position > one.position ? other : one
}
