import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { appendFile, chown, readdir, rm, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import pg from 'pg'
import { query } from '../local-stack/databases.js'
import { findPostgresPrograms, type PostgresPrograms } from '../local-stack/embedded-postgres.js'
import { onFreePort } from '../local-stack/free-port.js'
import { initialisePostgres, launchPostgres } from '../local-stack/postgres-server.js'
import type { ServerProcess } from '../local-stack/server-process.js'

const limitMs = 30_000
const pollMs = 25

interface Server {
  readonly data: string
  readonly port: number
  process: ServerProcess
}

/**
 * A primary and a standby with *synchronous* replication: what is acknowledged or visible on the primary is also on the
 * standby. With asynchronous replication, a failover takes acknowledged commits back, which is not the fault of any cache.
 */
export class PostgresPair {
  #primary: Server
  #standby: Server | undefined
  #standbys = 0

  private constructor(
    private readonly programs: PostgresPrograms,
    private readonly password: string,
    primary: Server,
  ) {
    this.#primary = primary
  }

  /** @param folder a reaped folder */
  static async start(folder: string): Promise<PostgresPair> {
    const programs = await findPostgresPrograms(folder)
    const password = randomBytes(16).toString('hex')
    const data = await initialisePostgres(programs, folder, password)
    // Much more than is written while a standby is created.
    await appendFile(
      join(data, 'postgresql.conf'),
      `\nwal_keep_size = '1GB'\nwal_retrieve_retry_interval = 200\n`,
    )
    const server = await onFreePort((port) => launchPostgres(programs, data, port, false))
    const pair = new PostgresPair(programs, password, { data, port: server.port, process: server })
    const superuser = pair.superuserUrl()
    await query(superuser, `CREATE ROLE aftercommit LOGIN CREATEDB PASSWORD '${password}'`)
    await query(superuser, 'CREATE DATABASE aftercommit OWNER aftercommit TEMPLATE template0')
    await pair.addStandby()
    return pair
  }

  get port(): number {
    return this.#primary.port
  }

  /** The URL of the service's database with the service's role, by default directly at the primary. */
  url(port = this.port): string {
    return `postgres://aftercommit:${this.password}@127.0.0.1:${port}/aftercommit`
  }

  superuserUrl(port = this.port): string {
    return `postgres://superuser:${this.password}@127.0.0.1:${port}/aftercommit`.replace(
      /aftercommit$/,
      'postgres',
    )
  }

  /** Runs one statement on the service's database, on a separate connection to the primary, and returns its rows. */
  async rows<Row>(statement: string, values: readonly unknown[] = []): Promise<Row[]> {
    return rowsOf<Row>(this.url(), statement, values)
  }

  /**
   * Ends the primary and starts it again.
   *
   * @param crash whether it ends without a checkpoint, so that it must recover from its log
   */
  async restart(crash: boolean, downMs: number): Promise<void> {
    await end(this.#primary, crash ? 'SIGQUIT' : 'SIGINT')
    await sleep(downMs)
    const { data, port } = this.#primary
    this.#primary.process = await launchPostgres(this.programs, data, port, false)
  }

  /** Waits until everything that is visible on the primary is on the standby, including commits from before it was added. */
  async standbyIsUpToDate(): Promise<void> {
    await until('the standby has everything', async () => {
      const [state] = await rowsOf<{ complete: boolean }>(
        this.superuserUrl(),
        `select sync_state = 'sync' and flush_lsn >= pg_current_wal_lsn() as complete from pg_stat_replication`,
      )
      return state?.complete === true
    })
  }

  /**
   * Ends the primary for good and promotes the standby. Its clients must have been cut off before: what the primary committed
   * while the standby takes over would be lost.
   */
  async failOver(): Promise<void> {
    const standby = this.#standby
    if (!standby) throw new Error('There is no standby')
    const old = this.#primary
    await end(old, 'SIGQUIT')
    await query(this.superuserUrl(standby.port), 'select pg_promote(true, 30)')
    this.#primary = standby
    this.#standby = undefined
    await rm(old.data, { recursive: true, force: true })
  }

  /** Creates a standby from a backup of the running primary. From then on, commits wait for it. */
  async addStandby(): Promise<void> {
    const data = join(dirname(this.#primary.data), `standby-${++this.#standbys}`)
    await this.#copyPrimary(data)
    const server = await onFreePort((port) =>
      launchPostgres(this.programs, data, port, false, 'ready to accept read-only connections'),
    )
    this.#standby = { data, port: server.port, process: server }
    await until('the standby follows', async () => {
      const rows = await rowsOf(
        this.superuserUrl(),
        `select from pg_stat_replication where state = 'streaming'`,
      )
      return rows.length > 0
    })
    await query(this.superuserUrl(), `alter system set synchronous_standby_names = '*'`)
    await query(this.superuserUrl(), 'select pg_reload_conf()')
    await this.standbyIsUpToDate()
  }

  async #copyPrimary(data: string): Promise<void> {
    // All of this uses one connection, because the backup ends with it.
    const client = new pg.Client(this.superuserUrl())
    client.on('error', () => {})
    await client.connect()
    try {
      await client.query(`select pg_backup_start('standby', true)`)
      await copyTree(this.#primary.data, data)
      const { rows } = await client.query<{ labelfile: string }>(
        'select labelfile from pg_backup_stop(false)',
      )
      // The copied log may be incomplete, and the standby fetches the log itself.
      for (const name of await readdir(join(data, 'pg_wal'))) {
        await rm(join(data, 'pg_wal', name), { recursive: true })
      }
      await rm(join(data, 'postmaster.pid'), { force: true })
      await this.#write(join(data, 'backup_label'), rows[0]?.labelfile ?? '')
      await this.#write(join(data, 'standby.signal'), '')
      // Replaces the primary's settings: with its synchronous_standby_names, a promoted standby would wait for ever.
      await this.#write(
        join(data, 'postgresql.auto.conf'),
        `primary_conninfo = 'host=127.0.0.1 port=${this.port} user=superuser password=${this.password}'\n`,
      )
    } finally {
      await client.end()
    }
  }

  async #write(file: string, text: string): Promise<void> {
    await writeFile(file, text, { mode: 0o600 })
    const { user } = this.programs
    if (user) await chown(file, user.uid, user.gid)
  }
}

async function end({ process: server }: Server, signal: NodeJS.Signals): Promise<void> {
  server.ref()
  process.kill(server.pid, signal)
  await server.exited
}

async function rowsOf<Row>(url: string, statement: string, values: readonly unknown[] = []): Promise<Row[]> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 10_000 })
  client.on('error', () => {})
  await client.connect()
  try {
    return (await client.query(statement, [...values])).rows as Row[]
  } finally {
    await client.end().catch(() => {})
  }
}

/** Keeps owners and modes. It ignores files that the server removes meanwhile, because the backup does not need them. */
async function copyTree(from: string, to: string): Promise<void> {
  try {
    await promisify(execFile)('cp', ['-a', from, to])
  } catch (error) {
    const lines = String((error as { stderr?: string }).stderr ?? '')
      .trim()
      .split('\n')
    if (!lines.every((line) => line.includes('No such file or directory'))) throw error
  }
}

async function until(what: string, condition: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + limitMs
  while (!(await condition().catch(() => false))) {
    if (performance.now() > deadline) throw new Error(`After ${limitMs / 1_000} s not yet: ${what}`)
    await sleep(pollMs)
  }
}
