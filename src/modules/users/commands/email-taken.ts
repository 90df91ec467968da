import { DomainError } from '../../../kernel/domain/index.js'
import { violatedConstraint } from '../../../kernel/persistence/persistence-errors.js'

/** The unique index decides, not a look before: two registrations at once would both see a free address. */
export function asEmailTaken(error: unknown, email: string): unknown {
  if (violatedConstraint(error) !== 'user_account_email_key') return error
  return new DomainError('conflict', 'email-taken', `The email address ${email} belongs to another user`)
}
