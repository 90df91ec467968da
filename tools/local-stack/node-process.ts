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
  /** Absent: the node runs without Redis. */
  readonly redisUrl?: string | undefined
  /** Default: `node`. */
  readonly name?: string | undefined
  /** Port on 127.0.0.1; default: a free one. */
  readonly port?: number | undefined
  readonly adminToken?: string | undefined
  /** Default: `warn`. */
  readonly logLevel?: string | undefined
  /** Further settings, such as `FAULTS`. Of this process's own environment a node sees nothing but `PATH`. */
  readonly env?: Readonly<Record<string, string>> | undefined
  /** Default: true. With `false`, `startNode` returns as soon as the process exists. */
  readonly waitUntilReady?: boolean | undefined
  /** How long to wait for that, in ms; default: 30,000. */
  readonly readyLimitMs?: number | undefined
  /** What to run instead of `dist/src/main.js`. */
  readonly script?: string | undefined
  /** Where standard output goes, a file descriptor or a pipe that nobody reads; default: to `output()`. */
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
  /** Sends a signal, default SIGKILL. Await `exited` for its effect. */
  kill(signal?: NodeJS.Signals): void
  /** SIGTERM, and SIGKILL after 15 s; returns the exit code, which is `null` for the latter. */
  stop(): Promise<number | null>
  /** The last 64 Ki characters of standard output and error. */
  output(): string
}

/**
 * Starts one node of the service and waits until `GET /health/ready` answers 200.
 *
 * @throws Error with the node's last output when it ends first or is too slow; it does not run on then
 * @throws PortTaken when `port` is given and taken
 */
export async function startNode(options: NodeOptions): Promise<NodeProcess> {
  if (options.port !== undefined) return startOn(options.port, options)
  return onFreePort((port) => startOn(port, options))
}

async function startOn(port: number, options: NodeOptions): Promise<NodeProcess> {
  // Else whoever listens there would answer that it is ready, before the new node fails on the port.
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
    // The diagnostic directory names the stack's folder: so the reaper finds a node even if this process is
    // killed before the line with its pid is written.
    [
      '--enable-source-maps',
      `--diagnostic-dir=${stack.folder}`,
      options.script ?? compiledFile('src/main.js'),
    ],
    // Detached: Ctrl-C is for whoever started the nodes to answer, in the order that suits it.
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
    // `close` and not `exit`: by then the output is complete.
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
