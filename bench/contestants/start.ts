import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { Entrant, EntrantSettings, Sample } from '../entrant.js'
import { createUsers } from '../service/user-table.js'

const main = fileURLToPath(new URL('../../src/main.js', import.meta.url))
const pollMs = 2

/** A node as `npm start` runs it, on a database that is already migrated, with Redis there. */
export async function openOurs({ databaseUrl, redisUrl }: EntrantSettings): Promise<Entrant> {
  await createUsers(databaseUrl, 1)
  const env = { DATABASE_URL: databaseUrl, REDIS_URL: redisUrl, LOG_LEVEL: 'warn' }
  return {
    round: () => untilAnswering(['--enable-source-maps', main], env, '/health/ready'),
    close: async () => {},
  }
}

const nothingButFastify = `
  import fastify from 'fastify'
  const app = fastify()
  app.get('/health/ready', async () => ({ status: 'ready' }))
  await app.listen({ host: '127.0.0.1', port: Number(process.env.PORT) })`

/** What a process takes that does nothing but to answer. */
export async function openFastify(): Promise<Entrant> {
  return {
    round: () => untilAnswering(['--input-type=module', '-e', nothingButFastify], {}, '/health/ready'),
    close: async () => {},
  }
}

/** Milliseconds from before the process is there until it answers with 200. */
async function untilAnswering(
  argv: readonly string[],
  env: Readonly<Record<string, string>>,
  path: string,
): Promise<Sample> {
  const port = await freePort()
  const startedAt = performance.now()
  const child = spawn(process.execPath, argv, {
    cwd: fileURLToPath(new URL('.', import.meta.url)),
    stdio: ['ignore', 'ignore', 'inherit'],
    env: { PATH: process.env.PATH, HOST: '127.0.0.1', PORT: String(port), ...env },
  })
  try {
    while (!(await answers(`http://127.0.0.1:${port}${path}`))) {
      if (child.exitCode !== null) throw new Error(`it ended with ${child.exitCode}`)
      await sleep(pollMs)
    }
    return { ms: performance.now() - startedAt }
  } finally {
    await stop(child)
  }
}

async function answers(url: string): Promise<boolean> {
  try {
    const response = await fetch(url)
    await response.body?.cancel()
    return response.status === 200
  } catch {
    return false // Not listening yet.
  }
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null) return
  const exited = once(child, 'exit')
  child.kill('SIGKILL')
  await exited
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  server.close()
  await once(server, 'close')
  return port
}
