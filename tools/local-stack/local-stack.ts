import { type Environment, readSecretFiles } from '../../src/secret-files.js'
import { type Databases, databasesOn, query } from './databases.js'
import { startPostgres } from './postgres-server.js'
import { openReapedFolder, type ReapedFolder } from './reaped-folder.js'
import { findRedisProgram, type RedisServer, startRedis } from './redis-server.js'

export interface LocalStackOptions {
  /** Postgres to use instead of a private one; default: `DATABASE_URL` of `env`. */
  readonly databaseUrl?: string | undefined
  /** Redis to use instead of a private one; default: `REDIS_URL` of `env`. */
  readonly redisUrl?: string | undefined
  /** `false`: run without Redis. */
  readonly redis?: boolean | undefined
  /** Whether commits on the private Postgres survive a crash of the machine. Default: no, which is faster. */
  readonly fsync?: boolean | undefined
  /** Where `DATABASE_URL`, `REDIS_URL` and `PATH` (for the Redis program) are read; default: `process.env`. */
  readonly env?: NodeJS.ProcessEnv | undefined
}

export interface LocalStack {
  readonly databaseUrl: string
  /** Absent where the Postgres is not the stack's own. */
  readonly superuserUrl: string | undefined
  /** Absent where the stack runs without Redis. */
  readonly redisUrl: string | undefined
  /** Absent where the Redis is not the stack's own. */
  readonly redis: RedisServer | undefined
  /** Ends with the stack, with all that is in it and every process whose command line names it. */
  readonly folder: string
  /** What a person should know about this stack, one line each. */
  readonly notes: readonly string[]
  /** Lets the process `pid` end with the stack, or with this process, however that ends. */
  watch(pid: number): void
  /** Creates an empty database (default: of a random name) and returns its URL. */
  createDatabase(name?: string): Promise<string>
  /** Ends all that the stack started, and waits for it. Calling it again does nothing more. */
  stop(): Promise<void>
}

/**
 * Starts a private Postgres and, where a `redis-server` or `valkey-server` is on the PATH, a private Redis, on free
 * ports of 127.0.0.1. However this process ends, they end too.
 *
 * @throws Error of one line when a server does not start; nothing is left behind then
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
    const server = await startPostgres(folder.path, options.fsync ?? false)
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

/** On a server that stays, the databases must go one by one. */
async function stop(folder: ReapedFolder, databases: Databases | undefined): Promise<void> {
  try {
    await databases?.dropAll()
  } finally {
    await folder.close()
  }
}
