/**
 * `npm run dev [-- --nodes N] [-- --fresh]` runs nodes on a private Postgres and Redis. It compiles and restarts them whenever
 * a file is saved. Settings come from the environment and from `.env`; the data of Postgres stays in `.dev` until `--fresh`.
 */
import 'reflect-metadata'
import { type ChildProcess, spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { existsSync, readFileSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { parseArgs, parseEnv } from 'node:util'
import { type Config, readConfig } from '../src/config.js'
import { readSecretFiles, withoutSecretFiles } from '../src/secret-files.js'
import { modules } from '../src/service-modules.js'
import { isReachable } from './local-stack/embedded-postgres.js'
import { isFree } from './local-stack/free-port.js'
import { type LocalStack, startLocalStack } from './local-stack/index.js'
import { isPostgresRunningIn } from './local-stack/postgres-server.js'

const root = fileURLToPath(new URL('../..', import.meta.url))
const mostNodes = 9
/** Milliseconds within which the end of this process's parent is noticed. */
const parentPollMs = 500

class Refused extends Error {
  constructor(
    message: string,
    readonly exitCode: 1 | 2,
  ) {
    super(message)
  }
}

interface Settings {
  readonly environment: NodeJS.ProcessEnv
  readonly config: Config
  readonly nodes: number
  readonly fresh: boolean
  readonly hasDatabase: boolean
}

/** @throws Error of one line */
function readSettings(): Settings {
  const { values } = parseArgs({
    options: { fresh: { type: 'boolean', default: false }, nodes: { type: 'string', default: '1' } },
  })
  const nodes = Number(values.nodes)
  if (!Number.isInteger(nodes) || nodes < 1 || nodes > mostNodes)
    throw new Error(`--nodes must be a number from 1 to ${mostNodes}`)
  const inFile = existsSync('.env') ? parseEnv(readFileSync('.env', 'utf8')) : {}
  const given = { LOG_LEVEL: 'debug', ...withoutEmpty(inFile), ...withoutEmpty(process.env) }
  const environment = withoutSecretFiles(readSecretFiles(given))
  const hasDatabase = environment.DATABASE_URL !== undefined
  if (values.fresh && hasDatabase)
    throw new Error('--fresh clears the private Postgres, but DATABASE_URL is set')
  // Checked here, because a node would only say what is wrong after the servers have started, and would wait for a change.
  const config = readConfig({ DATABASE_URL: 'postgres://private/', ...environment }, modules)
  if (config.PORT + nodes - 1 > 65_535) throw new Error('PORT leaves no room for that many nodes')
  return { environment, config, nodes, fresh: values.fresh, hasDatabase }
}

/** An empty variable counts as not set, also where the other source has a value. */
function withoutEmpty(environment: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(environment).filter(([, value]) => value))
}

const portsOf = ({ config, nodes }: Settings) =>
  Array.from({ length: nodes }, (_, index) => (config.PORT === 0 ? 0 : config.PORT + index))

/** Where Postgres keeps its data. If this is root, Postgres runs as another user, who may be unable to enter the clone. */
async function dataFolder(): Promise<string> {
  const folder = process.cwd()
  if (process.getuid?.() !== 0 || (await isReachable(folder))) return join(folder, '.dev')
  return join(tmpdir(), `dev-${createHash('sha256').update(folder).digest('hex').slice(0, 12)}`)
}

async function startServers(settings: Settings): Promise<LocalStack> {
  const { config, environment, fresh, hasDatabase } = settings
  for (const port of portsOf(settings)) {
    if (!(await isFree(port, config.HOST)))
      throw new Refused(`port ${port} is taken; set PORT to another one`, 1)
  }
  const data = await dataFolder()
  if (!hasDatabase && (await isPostgresRunningIn(data)))
    throw new Refused(`another "npm run dev" uses the data in ${data}; end it first`, 1)
  if (fresh) await rm(data, { recursive: true, force: true })
  const isNew = !existsSync(data)
  try {
    const stack = await startLocalStack({ env: environment, fsync: true, keptData: data })
    if (!hasDatabase && !isNew) console.log(`The data of the last start is kept; --fresh clears it.`)
    return stack
  } catch (error) {
    const hint = hasDatabase || isNew ? '' : ' Or start with empty data: npm run dev -- --fresh'
    throw new Refused(`${(error as Error).message}${hint}`, 1)
  }
}

/** The processes of one `npm run dev`, apart from the servers. */
class Processes {
  readonly #nodes: ChildProcess[] = []
  readonly #printers: ChildProcess[] = []
  #compiler: ChildProcess | undefined

  constructor(private readonly stack: LocalStack) {}

  compile(): void {
    const compiler = join(root, 'node_modules/typescript/bin/tsc')
    const project = join(root, 'tsconfig.build.json')
    this.#compiler = this.#run([compiler, '-p', project, '--watch', '--preserveWatchOutput'], 'inherit')
  }

  /** `onEnd` is called if the process that restarts the node ends by itself. */
  startNode(env: NodeJS.ProcessEnv, onEnd: () => void): void {
    const node = this.#run(['--watch', '--enable-source-maps', join(root, 'dist/src/main.js')], 'pipe', env)
    const printer = this.#run(
      [join(root, 'node_modules/pino-pretty/bin.js'), '--ignore', 'node', '--messageFormat', '{node}: {msg}'],
      'inherit',
    )
    if (node.stdout && printer.stdin) node.stdout.pipe(printer.stdin)
    node.once('exit', onEnd)
    this.#nodes.push(node)
    this.#printers.push(printer)
  }

  /** The compiler goes first, so that no node is restarted while it stops. The last lines are printed before this returns. */
  async stop(limitMs: number): Promise<void> {
    if (this.#compiler) signalGroup(this.#compiler)
    const ends = [...this.#nodes, ...this.#printers].map((child) => hasEnded(child))
    for (const node of this.#nodes) node.kill('SIGTERM')
    await Promise.race([Promise.all(ends), sleep(limitMs, undefined, { ref: false })])
  }

  #run(args: readonly string[], stdout: 'inherit' | 'pipe', env = process.env): ChildProcess {
    const child = spawn(process.execPath, args, {
      // In its own group, it does not get Ctrl-C from the terminal: this process stops all in order. And the reaper ends the
      // whole group, as the compiler and the watching Node have processes of their own.
      detached: true,
      stdio: [stdout === 'pipe' ? 'ignore' : 'pipe', stdout, 'inherit'],
      env,
    })
    if (child.pid) this.stack.watch(child.pid)
    child.stdin?.on('error', () => {})
    return child
  }
}

function signalGroup({ pid }: ChildProcess): void {
  try {
    if (pid !== undefined) process.kill(-pid, 'SIGTERM')
  } catch {
    // It has ended.
  }
}

async function hasEnded(child: ChildProcess): Promise<void> {
  if (child.exitCode === null && child.signalCode === null) await once(child, 'exit')
}

async function run(settings: Settings): Promise<void> {
  const { config, environment } = settings
  const stack = await startServers(settings)
  const processes = new Processes(stack)
  let stopping = false
  const stop = async (exitCode: number) => {
    // A second signal does not wait: the reaper ends everything.
    if (stopping) process.exit(1)
    stopping = true
    await processes.stop(config.SHUTDOWN_TIMEOUT_MS + 1_000)
    await stack.stop()
    process.exit(exitCode)
  }
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => void stop(0))
  // The output may be a pipe whose reader has ended.
  process.stdout.on('error', () => void stop(1))
  // npm passes a signal on to its shell, and some shells end without telling the process that they run.
  const parent = process.ppid
  if (process.env.npm_lifecycle_event)
    setInterval(() => process.ppid !== parent && !stopping && void stop(1), parentPollMs).unref()

  for (const note of stack.notes) console.log(note)
  console.log(`Postgres ${stack.databaseUrl}`)
  processes.compile()
  for (const [index, port] of portsOf(settings).entries()) {
    const name = environment.NODE_NAME ?? 'node'
    processes.startNode(
      {
        ...environment,
        DATABASE_URL: stack.databaseUrl,
        ...(stack.redisUrl && { REDIS_URL: stack.redisUrl }),
        PORT: String(port),
        NODE_NAME: settings.nodes === 1 ? name : `${name}-${index + 1}`,
      },
      () => stopping || void stop(1),
    )
    console.log(`http://${config.HOST}:${port}/docs`)
  }
}

try {
  let settings: Settings
  try {
    settings = readSettings()
  } catch (error) {
    throw new Refused((error as Error).message, 2)
  }
  await run(settings)
} catch (error) {
  if (!(error instanceof Refused)) throw error
  console.error(`dev: ${error.message}`)
  process.exit(error.exitCode)
}
