/** A request header is invalid. */
export class InvalidHeaderError extends Error {
  override readonly name = 'InvalidHeaderError'
}

/** A request body is invalid. */
export class InvalidBodyError extends Error {
  override readonly name = 'InvalidBodyError'
}

/** The node is starting or stopping. */
export class NotReadyError extends Error {
  override readonly name = 'NotReadyError'
}
