import { DomainError } from '../../../kernel/domain/index.js'
import { violatedConstraint } from '../../../kernel/persistence/persistence-errors.js'

/** Only the unique index can decide. Two registrations at the same time would both find that the address is free. */
export function asEmailTaken(error: unknown, email: string): unknown {
  if (violatedConstraint(error) !== 'user_account_email_key') return error
  return new DomainError('conflict', 'email-taken', `The email address ${email} belongs to another user`)
}
