import { type Environment, readSecretFiles } from '../../src/secret-files.js'
import { type Databases, databasesOn, query } from './databases.js'
import { startPostgres } from './postgres-server.js'
import { openReapedFolder, type ReapedFolder } from './reaped-folder.js'
import { findRedisProgram, type RedisServer, startRedis } from './redis-server.js'

export interface LocalStackOptions {
  /** A Postgres to use instead of a private one; by default that of `DATABASE_URL` in `env`. */
  readonly databaseUrl?: string | undefined
  /** A Redis to use instead of a private one; by default that of `REDIS_URL` in `env`. */
  readonly redisUrl?: string | undefined
  /** With `false`, the stack has no Redis. */
  readonly redis?: boolean | undefined
  /** Whether commits on the private Postgres survive a crash of the machine. By default they do not, which is faster. */
  readonly fsync?: boolean | undefined
  /** A folder where the private Postgres keeps its data from one stack to the next. By default they go with the stack. */
  readonly keptData?: string | undefined
  /** Contains `DATABASE_URL`, `REDIS_URL` and `PATH` (to find the Redis program); `process.env` by default. */
  readonly env?: NodeJS.ProcessEnv | undefined
}

export interface LocalStack {
  readonly databaseUrl: string
  /** Undefined if the stack does not run its own Postgres. */
  readonly superuserUrl: string | undefined
  /** Undefined if the stack has no Redis. */
  readonly redisUrl: string | undefined
  /** Undefined if the stack does not run its own Redis. */
  readonly redis: RedisServer | undefined
  /** The end of the stack removes this folder, and ends every process whose command line names it. */
  readonly folder: string
  /** What a user should know about this stack, in one line each. */
  readonly notes: readonly string[]
  /** Ends the process `pid` when the stack or this process ends, however that happens. */
  watch(pid: number): void
  /** Creates an empty database, with a random name by default, and returns its URL. */
  createDatabase(name?: string): Promise<string>
  /** Ends all that the stack started, and waits for that. Further calls do nothing more. */
  stop(): Promise<void>
}

/**
 * Starts a private Postgres on a free port of 127.0.0.1, and a private Redis if a `redis-server` or `valkey-server` is on the
 * PATH. They end with this process, however it ends.
 *
 * @throws Error of one line if a server does not start; nothing remains then
 */
export async function startLocalStack(options: LocalStackOptions = {}): Promise<LocalStack> {
  const folder = await openReapedFolder()
  try {
    return await startIn(folder, options)
  } catch (error) {
    await folder.close()
    throw error
  }
}

async function startIn(folder: ReapedFolder, options: LocalStackOptions): Promise<LocalStack> {
  const notes: string[] = []
  const env = readSecretFiles(options.env ?? process.env)
  const postgres = await choosePostgres(folder, options, env, notes)
  const { redisUrl, redis } = await chooseRedis(folder, options, env, notes)
  const databases = databasesOn(postgres.url)
  let stopping: Promise<void> | undefined
  return {
    databaseUrl: postgres.url,
    superuserUrl: postgres.superuserUrl,
    redisUrl,
    redis,
    folder: folder.path,
    notes,
    watch: folder.watch,
    createDatabase: databases.create,
    stop: () => {
      stopping ??= stop(folder, postgres.superuserUrl ? undefined : databases)
      return stopping
    },
  }
}

async function choosePostgres(
  folder: ReapedFolder,
  options: LocalStackOptions,
  env: Environment,
  notes: string[],
): Promise<{ url: string; superuserUrl: string | undefined }> {
  const given = options.databaseUrl ?? env.DATABASE_URL
  if (!given) {
    const server = await startPostgres(folder.path, options.fsync ?? false, options.keptData)
    folder.watch(server.pid)
    return server
  }
  try {
    await query(given, 'SELECT 1')
  } catch (error) {
    throw new Error(`The Postgres of DATABASE_URL does not answer: ${(error as Error).message}`, {
      cause: error,
    })
  }
  notes.push('Using the Postgres of DATABASE_URL.')
  return { url: given, superuserUrl: undefined }
}

async function chooseRedis(
  folder: ReapedFolder,
  options: LocalStackOptions,
  env: Environment,
  notes: string[],
): Promise<{ redisUrl: string | undefined; redis: RedisServer | undefined }> {
  if (options.redis === false) return { redisUrl: undefined, redis: undefined }
  const given = options.redisUrl ?? env.REDIS_URL
  if (given) {
    notes.push('Using the Redis of REDIS_URL.')
    return { redisUrl: given, redis: undefined }
  }
  const program = findRedisProgram(env.PATH ?? '')
  if (!program) {
    notes.push('No redis-server on the PATH: running without Redis (no L2, hints by NOTIFY).')
    return { redisUrl: undefined, redis: undefined }
  }
  const redis = await startRedis(folder.path, { program })
  return { redisUrl: redis.url, redis }
}

/** A private server ends with the folder. On any other server, the databases of the stack are dropped. */
async function stop(folder: ReapedFolder, databases: Databases | undefined): Promise<void> {
  try {
    await databases?.dropAll()
  } finally {
    await folder.close()
  }
}
