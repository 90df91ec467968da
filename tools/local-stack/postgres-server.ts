import { randomBytes } from 'node:crypto'
import { chown, mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { query } from './databases.js'
import { findPostgresPrograms, type PostgresPrograms } from './embedded-postgres.js'
import { onFreePort } from './free-port.js'
import { listProcesses } from './process-table.js'
import { runToEnd, type ServerProcess, startServer } from './server-process.js'

export interface PostgresServer {
  readonly pid: number
  /** The URL for a role with no special rights except CREATEDB. */
  readonly url: string
  /** The URL for statements that need a superuser, such as `ALTER SYSTEM`. */
  readonly superuserUrl: string
}

/**
 * Starts a private Postgres, with the database `aftercommit` of the role of the same name. The database is empty, unless
 * `kept` has one from before.
 *
 * @param folder a reaped folder
 * @param fsync whether a commit survives a crash of the machine (slower)
 * @param kept a folder for the data, which remains when the server ends. By default the data goes with the reaped folder
 * @throws Error of one line if it does not start; the message suggests to set DATABASE_URL
 */
export async function startPostgres(folder: string, fsync: boolean, kept?: string): Promise<PostgresServer> {
  try {
    const programs = await findPostgresPrograms(folder)
    const home = kept ?? folder
    // It is written last, so that a folder without it was never completed.
    const passwordFile = join(home, 'password')
    const found = kept === undefined ? undefined : await readIfExists(passwordFile)
    const password = found ?? randomBytes(16).toString('hex')
    const data = dataFolderIn(home)
    if (kept !== undefined && found === undefined) {
      await rm(kept, { recursive: true, force: true })
      await mkdir(kept, { recursive: true })
    }
    if (found === undefined) await initialisePostgres(programs, home, password)
    const { port, pid } = await onFreePort((port) =>
      launchPostgres(programs, data, port, fsync, undefined, {
        // The reaper finds processes by its folder in their command line, and the data may be elsewhere.
        'reaper.folder': folder,
      }),
    )
    const server = `127.0.0.1:${port}`
    const superuserUrl = `postgres://superuser:${password}@${server}/postgres`
    if (found === undefined) {
      await query(superuserUrl, `CREATE ROLE aftercommit LOGIN CREATEDB PASSWORD '${password}'`)
      await query(superuserUrl, 'CREATE DATABASE aftercommit OWNER aftercommit TEMPLATE template0')
    }
    if (kept !== undefined) await writeFile(passwordFile, password, { mode: 0o600 })
    return { pid, superuserUrl, url: `postgres://aftercommit:${password}@${server}/aftercommit` }
  } catch (error) {
    const reason = (error instanceof Error ? error.message : String(error)).trim().split('\n').at(-1)
    throw new Error(
      `The embedded Postgres does not start here (${reason}): set DATABASE_URL to a Postgres 15 or later.`,
      { cause: error },
    )
  }
}

/** Whether a server runs on the data that `startPostgres` keeps in a folder. */
export async function isPostgresRunningIn(kept: string): Promise<boolean> {
  const data = dataFolderIn(kept)
  const [pid] = ((await readIfExists(join(data, 'postmaster.pid'))) ?? '').split('\n')
  return listProcesses().some((entry) => entry.pid === Number(pid) && entry.command.includes(data))
}

const dataFolderIn = (folder: string) => join(folder, 'postgres', 'data')

async function readIfExists(file: string): Promise<string | undefined> {
  try {
    return await readFile(file, 'utf8')
  } catch {
    return undefined
  }
}

/**
 * Creates a data directory below a reaped folder, with the role `superuser`.
 *
 * @returns its path
 */
export async function initialisePostgres(
  programs: PostgresPrograms,
  folder: string,
  password: string,
): Promise<string> {
  const { initdb, user } = programs
  const home = join(folder, 'postgres')
  const data = dataFolderIn(folder)
  const passwordFile = join(home, 'password')
  await mkdir(home, { mode: 0o700 })
  await writeFile(passwordFile, `${password}\n`, { mode: 0o600 })
  if (user) for (const path of [home, passwordFile]) await chown(path, user.uid, user.gid)
  await runToEnd({
    program: initdb,
    args: [
      `--pgdata=${data}`,
      `--pwfile=${passwordFile}`,
      '--username=superuser',
      '--auth=scram-sha-256',
      '--encoding=UTF8',
      '--locale=C',
      '--no-sync',
    ],
    logFile: join(folder, 'initdb.log'),
    user,
  })
  await rm(passwordFile)
  return data
}

/**
 * Starts a server on a data directory.
 *
 * @param ready the text that it logs once it accepts connections
 * @throws PortTaken if another process listens on the port
 */
export async function launchPostgres(
  programs: PostgresPrograms,
  data: string,
  port: number,
  fsync: boolean,
  ready = 'database system is ready to accept connections',
  more: Readonly<Record<string, string>> = {},
): Promise<ServerProcess & { readonly port: number }> {
  const settings = {
    listen_addresses: '127.0.0.1',
    // By default, Postgres puts both outside of the folder, where they would remain after a SIGKILL.
    unix_socket_directories: '',
    dynamic_shared_memory_type: process.platform === 'win32' ? 'windows' : 'mmap',
    max_connections: '200',
    timezone: 'UTC',
    ...(fsync ? {} : { fsync: 'off', full_page_writes: 'off' }),
    ...more,
  }
  const server = await startServer({
    program: programs.postgres,
    args: ['-D', data, '-p', String(port)].concat(
      Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]),
    ),
    port,
    logFile: join(dirname(data), `${basename(data)}.log`),
    ready,
    user: programs.user,
  })
  return { ...server, port }
}
