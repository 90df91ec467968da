import { accessSync, constants } from 'node:fs'
import { copyFile, mkdtemp, rm } from 'node:fs/promises'
import { delimiter, join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { onFreePort } from './free-port.js'
import { type ServerProcess, startServer } from './server-process.js'

const STOP_LIMIT_MS = 3_000

export interface RedisStartOptions {
  /** An RDB file to load. Without it, the server starts empty. */
  readonly rdbFile?: string | undefined
}

export interface RedisOptions extends RedisStartOptions {
  /** The port on 127.0.0.1; a free one by default. */
  readonly port?: number | undefined
  /** The redis-server or valkey-server to run; the one on the PATH by default. */
  readonly program?: string | undefined
}

/** A private Redis. It persists nothing, but writes `dumpFile` when a client sends SAVE. */
export interface RedisServer {
  readonly url: string
  readonly port: number
  readonly dumpFile: string
  /** Undefined while it does not run. */
  readonly pid: number | undefined
  /** Sends SIGKILL and waits until it has ended. */
  kill(): Promise<void>
  /**
   * Starts it again on the same port, empty or from an RDB file.
   *
   * @throws PortTaken if another process has taken the port meanwhile
   * @throws Error if it is running
   */
  start(options?: RedisStartOptions): Promise<void>
  /** Sends SIGSTOP: connections stay open, but get no answers. */
  pause(): void
  /** Sends SIGCONT. */
  resume(): void
  /** Sends SIGTERM, and SIGKILL after 3 s, and waits until it has ended. */
  stop(): Promise<void>
}

/** The path of `redis-server`, or otherwise of `valkey-server`, on a PATH. */
export function findRedisProgram(path = process.env.PATH ?? ''): string | undefined {
  const folders = path.split(delimiter).filter(Boolean)
  return ['redis-server', 'valkey-server']
    .flatMap((name) => folders.map((folder) => join(folder, name)))
    .find(isExecutable)
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK)
    return true
  } catch {
    return false
  }
}

/**
 * Starts a private Redis.
 *
 * @param folder the folder of a local stack; the server ends with it
 * @throws Error if there is no program or it does not start
 * @throws PortTaken if another process uses the given port
 */
export async function startRedis(folder: string, options: RedisOptions = {}): Promise<RedisServer> {
  const program = options.program ?? findRedisProgram()
  if (!program) throw new Error('No redis-server on the PATH')
  const home = await mkdtemp(join(folder, 'redis-'))
  const dumpFile = join(home, 'dump.rdb')
  let running: ServerProcess | undefined

  const launch = async (port: number, { rdbFile }: RedisStartOptions) => {
    if (rdbFile === undefined) await rm(dumpFile, { force: true })
    else if (resolve(rdbFile) !== dumpFile) await copyFile(rdbFile, dumpFile)
    const server = await startServer({
      program,
      args: redisArguments(home, port),
      port,
      logFile: join(home, 'redis.log'),
      ready: 'Ready to accept connections',
    })
    running = server
    void server.exited.then(() => {
      if (running === server) running = undefined
    })
    return port
  }
  const signal = (name: NodeJS.Signals) => {
    if (running) process.kill(running.pid, name)
  }
  const kill = async () => {
    const server = running
    signal('SIGKILL')
    server?.ref()
    await server?.exited
  }

  const port = options.port ?? (await onFreePort((candidate) => launch(candidate, options)))
  if (options.port !== undefined) await launch(port, options)
  return {
    url: `redis://127.0.0.1:${port}`,
    port,
    dumpFile,
    get pid() {
      return running?.pid
    },
    kill,
    async start(startOptions = {}) {
      if (running) throw new Error(`The Redis on port ${port} is already running`)
      await launch(port, startOptions)
    },
    pause: () => signal('SIGSTOP'),
    resume: () => signal('SIGCONT'),
    async stop() {
      const server = running
      signal('SIGTERM')
      signal('SIGCONT')
      server?.ref()
      await Promise.race([server?.exited, sleep(STOP_LIMIT_MS, undefined, { ref: false })])
      if (running === server) await kill()
    },
  }
}

function redisArguments(home: string, port: number): string[] {
  const settings: [string, string][] = [
    ['bind', '127.0.0.1'],
    ['port', String(port)],
    ['dir', home],
    ['dbfilename', 'dump.rdb'],
    ['save', ''],
    ['appendonly', 'no'],
    // A title would replace the command line, by which the reaper finds the process.
    ['set-proc-title', 'no'],
  ]
  return settings.flatMap(([name, value]) => [`--${name}`, value])
}
