import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { AppliedJournal } from '../journal/applied-journal.js'
import { type AnswerSource, Consistency, type StaleAnswer, type Tier } from '../journal/consistency.js'
import { formatToken, parseToken } from '../journal/consistency-token.js'
import type { StalenessCheck } from '../journal/staleness-check.js'
import { InvalidHeaderError, NotReadyError } from './http-errors.js'

declare module 'fastify' {
  interface FastifyRequest {
    /** This request's view of time: hand it to the buses. */
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

/** A negative `ttl` is how long the answer is past its time; RFC 9211 leaves `detail` to the cache. */
function statusOf(source: AnswerSource, stale: StaleAnswer | undefined): string {
  const status = cacheStatus[source]
  if (!stale) return status
  const ttl = stale.overdueMs > 0 ? -Math.ceil(stale.overdueMs / 1_000) : 0
  return `${status}; ttl=${ttl}; detail=${stale.staleness}`
}

/** Reads `Consistency-Token` and answers it, with `Cache-Status`, on every route of the modules. */
export function addConsistency(app: FastifyInstance, options: ConsistencyPluginOptions): void {
  const { check, applied } = options
  app.decorateRequest('consistency', null as unknown as Consistency)

  app.addHook('onRequest', (request, _reply, done) => {
    // First, so that an answer to a bad request, too, has a token.
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
    // Not there if a hook before this plugin's own has answered.
    const consistency = request.consistency as Consistency | null
    if (consistency) {
      const { token, source, stale } = consistency
      if (applied.epoch !== '') reply.header('Consistency-Token', formatToken(token ?? applied.stamp()))
      if (request.method === 'GET') reply.header('Cache-Status', statusOf(source ?? 'bypass', stale))
      // What is fresh here need not be fresh in a cache between us and the client.
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
  throw new InvalidHeaderError('Read-Tier is l1, l2 or database')
}
