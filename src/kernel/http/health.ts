import type { FastifyInstance } from 'fastify'
import { z } from 'zod'

const dependency = z.object({ status: z.enum(['up', 'down', 'off']) })

/** Probes ask every few seconds, and the answers follow from what the node logs anyway. */
const config = { requestLogLevel: 'debug' } as const

export const healthSchema = z.object({
  status: z.enum(['ready', 'starting', 'out-of-step', 'stopping']),
  node: z.string(),
  checks: z.object({
    postgres: dependency,
    redis: dependency,
    migrations: z.object({ status: z.enum(['done', 'pending']) }),
    journal: z.object({
      status: z.enum(['in-step', 'out-of-step']),
      epoch: z.string(),
      applied: z.number(),
      leaseMs: z.number(),
    }),
  }),
})

export type Health = z.output<typeof healthSchema>

export interface HealthReporter {
  report(): Health
}

/**
 * `live` says that the process answers, `ready` that the node can take requests. Redis is reported, but a node is also ready
 * without it: the service is then slower, not wrong.
 */
export function addHealth(app: FastifyInstance, health: HealthReporter): void {
  app.get(
    '/health/live',
    {
      config,
      schema: {
        operationId: 'isLive',
        tags: ['operations'],
        summary: 'The process answers',
        response: { 200: z.object({ status: z.literal('live') }) },
      },
    },
    async () => ({ status: 'live' }),
  )
  app.get(
    '/health/ready',
    {
      config,
      schema: {
        operationId: 'isReady',
        tags: ['operations'],
        summary: 'The node can take requests',
        response: { 200: healthSchema, 503: healthSchema },
      },
    },
    async (_request, reply) => {
      const report = health.report()
      return reply
        .code(report.status === 'ready' ? 200 : 503)
        .header('Cache-Control', 'no-store')
        .send(report)
    },
  )
}
