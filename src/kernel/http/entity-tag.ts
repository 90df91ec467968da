import type { FastifyReply, FastifyRequest } from 'fastify'
import { type Precondition, PreconditionFailedError } from '../domain/precondition.js'
import { InvalidHeaderError } from './http-errors.js'

const listPattern = /^\s*(?:W\/)?"[^"]*"\s*(?:,\s*(?:W\/)?"[^"]*"\s*)*$/
const tagPattern = /(W\/)?"([^"]*)"/g

export function entityTag(version: number): string {
  return `"${version}"`
}

/**
 * Reads `If-Match`. RFC 9110 requires the strong comparison here, so weak tags match nothing.
 *
 * @throws InvalidHeaderError
 */
export function preconditionOf(request: FastifyRequest): Precondition {
  const header = request.headers['if-match']
  if (header === undefined) return undefined
  if (header.trim() === '*') return 'any'
  if (!listPattern.test(header)) throw new InvalidHeaderError('If-Match must be * or a list of entity tags')
  return [...header.matchAll(tagPattern)]
    .filter(([, weak, tag]) => !weak && /^(?:0|[1-9]\d{0,14})$/.test(tag ?? ''))
    .map(([, , tag]) => Number(tag))
}

/** For writes to a resource without a version, which no `If-Match` can match. */
export function refusePrecondition(request: FastifyRequest): void {
  if (request.headers['if-match'] !== undefined) {
    throw new PreconditionFailedError('This resource has no version, so If-Match cannot match')
  }
}

/** Answers with a representation and its entity tag, or with 304 if the client has it already. */
export function sendRepresentation(
  request: FastifyRequest,
  reply: FastifyReply,
  representation: { readonly version: number },
): FastifyReply {
  const tag = entityTag(representation.version)
  reply.header('ETag', tag)
  if (
    (request.method === 'GET' || request.method === 'HEAD') &&
    matchesNoneOf(request.headers['if-none-match'], tag)
  )
    return reply.code(304).send()
  return reply.send(representation)
}

/** RFC 9110 requires the weak comparison for `If-None-Match`. */
function matchesNoneOf(header: string | undefined, tag: string): boolean {
  if (header === undefined) return false
  return header.trim() === '*' || [...header.matchAll(tagPattern)].some(([, , given]) => `"${given}"` === tag)
}
