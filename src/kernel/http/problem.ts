import type { FastifyError } from 'fastify'
import { hasZodFastifySchemaValidationErrors } from 'fastify-type-provider-zod'
import { LoadTimeoutError, NotInTierError } from '../cache/cache-errors.js'
import { InvalidMessageError } from '../cqrs/message.js'
import { DomainError, type DomainErrorKind } from '../domain/domain-error.js'
import { PreconditionFailedError } from '../domain/precondition.js'
import { InvalidTokenError } from '../journal/consistency-token.js'
import {
  AggregateNotFoundError,
  CommitOutcomeUnknownError,
  ConcurrencyError,
  isConnectionFailure,
  OverloadedError,
  sqlStateOf,
} from '../persistence/persistence-errors.js'
import { InvalidBodyError, InvalidHeaderError, NotReadyError } from './http-errors.js'

/** RFC 9457. */
export interface Problem {
  readonly type: string
  readonly title: string
  readonly status: number
  readonly detail?: string
  /** For invalid input: which parts are invalid, and why. */
  readonly errors?: readonly { readonly path: string; readonly message: string }[]
  /** Seconds after which the client may try again. It becomes the header `Retry-After`. */
  readonly retryAfter?: number
}

/** A problem contains at most this many errors, and this many characters of each text. */
const errorLimit = 20
const textLimit = 500

const statusOfKind: Record<DomainErrorKind, number> = { 'not-found': 404, conflict: 409, unprocessable: 422 }

/** Says what the client is told about an error. Any other error becomes a 500 without details; the server logs it. */
export function problemOf(error: unknown): Problem {
  if (hasZodFastifySchemaValidationErrors(error)) {
    const errors = error.validation.slice(0, errorLimit).map(({ instancePath, message }) => ({
      path: instancePath.replace(/^\//, '').replaceAll('/', '.'),
      message: message ?? 'is not valid',
    }))
    const [first] = errors
    return problem(400, 'invalid-request', 'The request does not validate', {
      detail: first?.path ? `${first.path}: ${first.message}` : (first?.message ?? ''),
      errors,
    })
  }
  if (error instanceof InvalidMessageError) {
    return problem(400, 'invalid-request', 'The request does not validate', {
      detail: error.message,
      errors: error.issues,
    })
  }
  if (error instanceof InvalidTokenError || error instanceof InvalidHeaderError) {
    return problem(400, 'invalid-header', 'A header does not validate', { detail: error.message })
  }
  if (error instanceof InvalidBodyError) {
    return problem(400, 'invalid-body', 'The body cannot be read', { detail: error.message })
  }
  if (error instanceof DomainError) {
    return problem(statusOfKind[error.kind], error.code, titleOf(error.code), { detail: error.message })
  }
  if (error instanceof AggregateNotFoundError) {
    const code = `${kebab(error.aggregate)}-not-found`
    return problem(404, code, titleOf(code), { detail: error.message })
  }
  if (error instanceof NotInTierError) {
    return problem(404, 'not-in-tier', 'This tier has no fresh value', { detail: error.message })
  }
  if (error instanceof LoadTimeoutError) {
    return problem(503, 'load-timeout', 'The answer takes too long', {
      detail: `There was no answer within ${error.timeoutMs} ms. Please try again.`,
      retryAfter: 1,
    })
  }
  if (error instanceof PreconditionFailedError) {
    return problem(412, 'precondition-failed', 'The representation has changed', { detail: error.message })
  }
  if (error instanceof ConcurrencyError) {
    return problem(409, 'conflict', 'The resource is being changed by others', {
      detail: error.message,
      retryAfter: 1,
    })
  }
  if (error instanceof OverloadedError || error instanceof NotReadyError) {
    return problem(503, 'unavailable', 'The service cannot answer now', {
      detail: error.message,
      retryAfter: 1,
    })
  }
  if (error instanceof CommitOutcomeUnknownError) {
    return problem(503, 'outcome-unknown', 'The write may or may not have happened', {
      detail: 'The database did not confirm the write. Read the resource before you repeat the write.',
    })
  }
  // 57014: the statement exceeded its timeout.
  if (isConnectionFailure(error) || sqlStateOf(error) === '57014') {
    return problem(503, 'database-unavailable', 'The database cannot be reached', {
      detail: 'This node has no fresh value in its cache, either. Please try again.',
      retryAfter: 1,
    })
  }
  return problemOfFramework(error as FastifyError)
}

/** RFC 9457 wants the same title for every occurrence, so it is made from the code: `email-taken` becomes "Email taken". */
/** `FeatureFlag` becomes `feature-flag`. */
function kebab(name: string): string {
  return name.replaceAll(/(?<!^)[A-Z]/g, '-$&').toLowerCase()
}

function titleOf(code: string): string {
  return code.charAt(0).toUpperCase() + code.slice(1).replaceAll('-', ' ')
}

function problemOfFramework(error: FastifyError): Problem {
  const status = error.statusCode ?? 500
  if (status < 400 || status >= 500) return problem(500, 'internal', 'Something went wrong on our side')
  const code = (error.code ?? 'bad-request')
    .replace(/^FST_ERR_/, '')
    .toLowerCase()
    .replaceAll('_', '-')
  return problem(status, code, error.message)
}

export function problem(
  status: number,
  code: string,
  title: string,
  more: Pick<Problem, 'detail' | 'errors' | 'retryAfter'> = {},
): Problem {
  const { detail, errors, retryAfter } = more
  return {
    type: `urn:aftercommit:problem:${clipped(code)}`,
    title: clipped(title),
    status,
    ...(detail !== undefined && { detail: clipped(detail) }),
    ...(errors && {
      errors: errors.slice(0, errorLimit).map(({ path, message }) => ({
        path: clipped(path),
        message: clipped(message),
      })),
    }),
    ...(retryAfter !== undefined && { retryAfter }),
  }
}

/** Shortens a text, because a text that comes from a request may be as long as the request. */
function clipped(text: string): string {
  return text.length <= textLimit ? text : `${text.slice(0, textLimit)}…`
}
