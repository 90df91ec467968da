/** What the outside is told about a broken rule; HTTP turns each kind into a status. */
export type DomainErrorKind = 'not-found' | 'conflict' | 'unprocessable'

/**
 * A business rule said no. The message is meant for the caller of the API.
 *
 * @param code a stable, kebab-case name, the last part of the problem's `type`
 */
export class DomainError extends Error {
  override readonly name = 'DomainError'

  constructor(
    readonly kind: DomainErrorKind,
    readonly code: string,
    message: string,
  ) {
    super(message)
  }
}
