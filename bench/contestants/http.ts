import { spawn } from 'node:child_process'
import { createRequire } from 'node:module'
import fastify, { LogController } from 'fastify'
import { pino } from 'pino'
import type { Entrant, EntrantSettings, Sample } from '../entrant.js'
import { startBenchNode } from '../service/bench-node.js'
import { createUsers, userIdOf } from '../service/user-table.js'

const connections = 64
const userCount = 100
const path = `/users/${userIdOf(7)}`

/** As `src/kernel/http/server.ts` has them. */
const serverOptions = {
  bodyLimit: 1_048_576,
  requestTimeout: 60_000,
  routerOptions: { maxParamLength: 16_384 },
  http: { maxHeaderSize: 32_768 },
  forceCloseConnections: 'idle',
} as const

/** A whole node that answers the same user from its memory. */
export async function openOurs(settings: EntrantSettings): Promise<Entrant> {
  await createUsers(settings.databaseUrl, userCount)
  const node = await startBenchNode(settings)
  const url = `${node.url}${path}`
  const headers = await headersOnceCached(url)
  if (!headers.get('cache-status')?.includes('hit')) throw new Error('the answer is not a hit')
  return { round: () => loaded(url, settings), close: () => node.stop() }
}

/** The limit: the same server, and one route with nothing to find out. Its answer has as many bytes. */
export async function openConstant(settings: EntrantSettings): Promise<Entrant> {
  const constant = JSON.stringify({
    id: userIdOf(7),
    email: 'user7@example.com',
    name: 'User 7',
    permissions: ['users:read', 'users:write'],
    version: 1,
  })
  const app = fastify({
    ...serverOptions,
    loggerInstance: pino({ level: 'silent' }),
    logController: new LogController({ disableRequestLogging: true }),
  })
  app.get('/users/:id', async (_request, reply) => {
    reply.header('Content-Type', 'application/json; charset=utf-8')
    return constant
  })
  const url = `${await app.listen({ host: '127.0.0.1', port: 0 })}${path}`
  return { round: () => loaded(url, settings), close: () => app.close() }
}

async function headersOnceCached(url: string): Promise<Headers> {
  await (await fetch(url)).text()
  const { headers, body } = await fetch(url)
  await body?.cancel()
  return headers
}

interface AutocannonResult {
  readonly requests: { readonly total: number }
  readonly duration: number
  readonly latency: { readonly p50: number; readonly p99: number }
  readonly errors: number
  readonly non2xx: number
}

/** Load comes from a process of its own. */
async function loaded(url: string, { quick }: EntrantSettings): Promise<Sample> {
  const autocannon = createRequire(import.meta.url).resolve('autocannon')
  const child = spawn(
    process.execPath,
    [autocannon, '-c', String(connections), '-d', quick ? '1' : '4', '--json', '--no-progress', url],
    { stdio: ['ignore', 'pipe', 'ignore'] },
  )
  let output = ''
  for await (const chunk of child.stdout) output += chunk
  const { requests, duration, latency, errors, non2xx } = JSON.parse(output) as AutocannonResult
  if (errors + non2xx > 0) throw new Error(`${errors} errors, ${non2xx} answers other than 200`)
  return { perSecond: requests.total / duration, p50: latency.p50, p99: latency.p99 }
}
