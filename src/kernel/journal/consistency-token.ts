/**
 * What a client has seen: a position of an epoch, or *pending* when the newest it saw has no number yet.
 * Travels as `epoch.position` or `epoch.pending`.
 */
export interface ConsistencyToken {
  readonly epoch: string
  readonly position: number | 'pending'
}

export class InvalidTokenError extends Error {
  override readonly name = 'InvalidTokenError'
  constructor() {
    super('The consistency token is not one of this service: send back what it answered, unchanged.')
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

/** The token that promises both: what an answer made of several reads may say. */
export function strongest(one: ConsistencyToken | undefined, other: ConsistencyToken): ConsistencyToken {
  if (!one) return other
  if (one.position === 'pending') return one
  // Positions of two epochs do not compare; pending makes the next reader ask the database.
  if (other.position === 'pending' || one.epoch !== other.epoch)
    return { epoch: other.epoch, position: 'pending' }
  return other.position > one.position ? other : one
}
