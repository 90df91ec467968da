import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { AppliedJournal } from '../journal/applied-journal.js'
import { type AnswerSource, Consistency, type StaleAnswer, type Tier } from '../journal/consistency.js'
import { formatToken, parseToken } from '../journal/consistency-token.js'
import type { StalenessCheck } from '../journal/staleness-check.js'
import { InvalidHeaderError, NotReadyError } from './http-errors.js'

declare module 'fastify' {
  interface FastifyRequest {
    /** What this request requires and has seen. Pass it to the buses. */
    consistency: Consistency
  }
}

export interface ConsistencyPluginOptions {
  readonly check: StalenessCheck
  readonly applied: AppliedJournal
  /** Whether a request may read one tier alone. */
  readonly tierHeader: boolean
  readonly isServing: () => boolean
}

/** RFC 9211. */
const cacheStatus: Record<AnswerSource, string> = {
  l1: 'aftercommit-l1; hit',
  l2: 'aftercommit-l2; hit',
  miss: 'aftercommit-l1; fwd=miss',
  bypass: 'aftercommit-l1; fwd=bypass',
}

/** A negative `ttl` says for how many seconds the answer has been expired. RFC 9211 lets each cache define `detail`. */
function statusOf(source: AnswerSource, stale: StaleAnswer | undefined): string {
  const status = cacheStatus[source]
  if (!stale) return status
  const ttl = stale.overdueMs > 0 ? -Math.ceil(stale.overdueMs / 1_000) : 0
  return `${status}; ttl=${ttl}; detail=${stale.staleness}`
}

/** Reads `Consistency-Token`, and answers it and `Cache-Status`, on every route of the modules. */
export function addConsistency(app: FastifyInstance, options: ConsistencyPluginOptions): void {
  const { check, applied } = options
  app.decorateRequest('consistency', null as unknown as Consistency)

  app.addHook('onRequest', (request, _reply, done) => {
    // Before anything can fail, so that the answer to a bad request has a token, too.
    request.consistency = new Consistency(check, applied)
    try {
      if (!options.isServing()) throw new NotReadyError('This node is starting or stopping')
      const token = headerOf(request, 'consistency-token')
      const tier = options.tierHeader ? tierOf(headerOf(request, 'read-tier')) : undefined
      if (token !== undefined || tier !== undefined) {
        request.consistency = new Consistency(
          check,
          applied,
          token === undefined ? undefined : parseToken(token),
          tier,
        )
      }
    } catch (error) {
      return done(error as Error)
    }
    done()
  })

  app.addHook('onSend', (request, reply, payload, done) => {
    // It is missing if an earlier hook has answered the request.
    const consistency = request.consistency as Consistency | null
    if (consistency) {
      const { token, source, stale } = consistency
      if (applied.epoch !== '') reply.header('Consistency-Token', formatToken(token ?? applied.stamp()))
      if (request.method === 'GET' || request.method === 'HEAD')
        reply.header('Cache-Status', statusOf(source ?? 'bypass', stale))
      // Nobody invalidates a cache between this node and the client.
      reply.header('Cache-Control', 'no-cache')
    }
    done(null, payload)
  })
}

function headerOf(request: FastifyRequest, name: string): string | undefined {
  const value = request.headers[name]
  if (Array.isArray(value)) throw new InvalidHeaderError(`${name} was sent more than once`)
  return value
}

function tierOf(value: string | undefined): Tier | undefined {
  if (value === undefined || value === 'l1' || value === 'l2' || value === 'database') return value
  throw new InvalidHeaderError('Read-Tier must be l1, l2 or database')
}
