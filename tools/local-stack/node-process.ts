import { spawn } from 'node:child_process'
import type { Readable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { compiledFile } from './compiled-file.js'
import { isFree, onFreePort, PortTaken } from './free-port.js'
import type { LocalStack } from './local-stack.js'

const READY_LIMIT_MS = 30_000
const READY_POLL_MS = 50
const STOP_LIMIT_MS = 15_000
const OUTPUT_LIMIT = 64 * 1024

export interface NodeOptions {
  readonly stack: Pick<LocalStack, 'folder' | 'watch'>
  readonly databaseUrl: string
  /** Without it, the node runs without Redis. */
  readonly redisUrl?: string | undefined
  /** `node` by default. */
  readonly name?: string | undefined
  /** The port on 127.0.0.1; a free one by default. */
  readonly port?: number | undefined
  readonly adminToken?: string | undefined
  /** `warn` by default. */
  readonly logLevel?: string | undefined
  /** Further settings, such as `FAULTS`. From the environment of this process a node gets only `PATH`. */
  readonly env?: Readonly<Record<string, string>> | undefined
  /** True by default. With `false`, `startNode` returns as soon as the process exists. */
  readonly waitUntilReady?: boolean | undefined
  /** How long to wait until the node is ready, in ms; 30,000 by default. */
  readonly readyLimitMs?: number | undefined
  /** The script to run; `dist/src/main.js` by default. */
  readonly script?: string | undefined
  /** Where standard output goes: a file descriptor, or a pipe that nobody reads. By default `output()` returns it. */
  readonly stdout?: number | 'unread' | undefined
}

export interface NodeExit {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
}

export interface NodeProcess {
  readonly name: string
  readonly url: string
  readonly port: number
  readonly pid: number
  readonly exited: Promise<NodeExit>
  /** Sends a signal, SIGKILL by default. Await `exited` for its effect. */
  kill(signal?: NodeJS.Signals): void
  /** Sends SIGTERM, and SIGKILL after 15 s. Returns the exit code, which is `null` after SIGKILL. */
  stop(): Promise<number | null>
  /** The last 64 Ki characters of standard output and error. */
  output(): string
}

/**
 * Starts one node of the service and waits until `GET /health/ready` answers 200.
 *
 * @throws Error with the node's last output if it ends or is not ready in time; it is killed then
 * @throws PortTaken if another process uses the given `port`
 */
export async function startNode(options: NodeOptions): Promise<NodeProcess> {
  if (options.port !== undefined) return startOn(options.port, options)
  return onFreePort((port) => startOn(port, options))
}

async function startOn(port: number, options: NodeOptions): Promise<NodeProcess> {
  // Otherwise the process that listens there could answer that it is ready, before the new node fails.
  if (!(await isFree(port))) throw new PortTaken(port)
  const node = launch(port, options)
  if (options.waitUntilReady === false) return node
  try {
    await untilReady(node, options.readyLimitMs ?? READY_LIMIT_MS)
  } catch (error) {
    node.kill()
    throw error
  }
  return node
}

function launch(port: number, options: NodeOptions): NodeProcess {
  const { stack, name = 'node', stdout } = options
  const child = spawn(
    process.execPath,
    // The reaper finds processes by the stack's folder in their command line. So it finds this node even if this process is
    // killed before it has written the node's pid.
    [
      '--enable-source-maps',
      `--diagnostic-dir=${stack.folder}`,
      options.script ?? compiledFile('src/main.js'),
    ],
    // Detached, so that Ctrl-C reaches only this process, which then stops the nodes in its own order.
    {
      detached: true,
      stdio: ['ignore', typeof stdout === 'number' ? stdout : 'pipe', 'pipe'],
      env: environment(port, name, options),
    },
  )
  const { pid } = child
  if (pid === undefined) throw new Error(`Cannot run ${process.execPath}`)
  stack.watch(pid)
  const output = collectOutput(stdout === 'unread' ? [child.stderr] : [child.stdout, child.stderr])
  const exited = new Promise<NodeExit>((resolve) => {
    // `close` and not `exit`, because the output is complete only then.
    child.once('close', (code, signal) => resolve({ code, signal }))
  })
  const kill = (signal: NodeJS.Signals = 'SIGKILL') => void child.kill(signal)
  return {
    name,
    url: `http://127.0.0.1:${port}`,
    port,
    pid,
    exited,
    kill,
    async stop() {
      kill('SIGTERM')
      kill('SIGCONT')
      const timer = setTimeout(kill, STOP_LIMIT_MS, 'SIGKILL')
      const { code } = await exited
      clearTimeout(timer)
      return code
    },
    output,
  }
}

function environment(port: number, name: string, options: NodeOptions): NodeJS.ProcessEnv {
  const { databaseUrl, redisUrl, adminToken, logLevel = 'warn', env } = options
  return {
    PATH: process.env.PATH,
    HOST: '127.0.0.1',
    PORT: String(port),
    NODE_NAME: name,
    DATABASE_URL: databaseUrl,
    ...(redisUrl === undefined ? {} : { REDIS_URL: redisUrl }),
    ...(adminToken === undefined ? {} : { ADMIN_TOKEN: adminToken }),
    LOG_LEVEL: logLevel,
    ...env,
  }
}

function collectOutput(streams: readonly (Readable | null)[]): () => string {
  let text = ''
  for (const stream of streams) {
    stream?.setEncoding('utf8').on('data', (chunk: string) => {
      text = (text + chunk).slice(-OUTPUT_LIMIT)
    })
  }
  return () => text
}

async function untilReady(node: NodeProcess, limitMs: number): Promise<void> {
  const limit = AbortSignal.timeout(limitMs)
  let exit: NodeExit | undefined
  void node.exited.then((value) => {
    exit = value
  })
  while (!limit.aborted) {
    if (exit) {
      if (node.output().includes('EADDRINUSE')) throw new PortTaken(node.port)
      throw new Error(
        `${node.name} ended (${exit.code ?? exit.signal}) before it was ready:\n${node.output()}`,
      )
    }
    if (await isReady(node.url, limit)) return
    await Promise.race([node.exited, sleep(READY_POLL_MS)])
  }
  throw new Error(`${node.name} was not ready after ${limitMs / 1000} s:\n${node.output()}`)
}

async function isReady(url: string, limit: AbortSignal): Promise<boolean> {
  try {
    const response = await fetch(`${url}/health/ready`, { signal: limit })
    await response.body?.cancel()
    return response.status === 200
  } catch {
    return false // Not listening yet.
  }
}
