/** A request header that cannot be understood. */
export class InvalidHeaderError extends Error {
  override readonly name = 'InvalidHeaderError'
}

/** A request body that cannot be understood. */
export class InvalidBodyError extends Error {
  override readonly name = 'InvalidBodyError'
}

/** `If-Match` names another version than the present one. */
export class PreconditionFailedError extends Error {
  override readonly name = 'PreconditionFailedError'
}

/** The node is starting or stopping. */
export class NotReadyError extends Error {
  override readonly name = 'NotReadyError'
}
