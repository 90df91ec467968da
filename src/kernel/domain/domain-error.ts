/** The kinds of broken rules. Each becomes an HTTP status. */
export type DomainErrorKind = 'not-found' | 'conflict' | 'unprocessable'

/**
 * A business rule was broken. The caller of the API sees the message.
 *
 * @param code a stable name in kebab case; the last part of the problem's `type`
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
