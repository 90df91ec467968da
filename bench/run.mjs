/**
 * `npm run bench`: installs what the service is measured against, compiles, and runs. Peers are dependencies of this
 * folder only; compiled files find them through a link beside them.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, lstatSync, mkdirSync, readFileSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const folder = fileURLToPath(new URL('.', import.meta.url))
const root = join(folder, '..')
const compiled = join(root, 'dist', 'bench')

if (!isInstalled()) {
  console.error('installing the peers …')
  run('npm', ['ci', '--no-audit', '--no-fund', '--loglevel=error'], folder)
}
run(process.execPath, [join(root, 'node_modules', 'typescript', 'bin', 'tsc'), '-p', folder], root)
const link = join(compiled, 'node_modules')
mkdirSync(compiled, { recursive: true })
if (!lstatSync(link, { throwIfNoEntry: false })) symlinkSync(join(folder, 'node_modules'), link, 'junction')
run(process.execPath, [join(compiled, 'launch.js'), ...process.argv.slice(2)], root)

/** npm leaves a copy of the lock file beside what it has installed. */
function isInstalled() {
  const marker = join(folder, 'node_modules', '.package-lock.json')
  if (!existsSync(marker)) return false
  const versions = (text) =>
    Object.entries(JSON.parse(text).packages)
      .filter(([path, { optional }]) => path && !optional)
      .map(([path, { version }]) => `${path}@${version}`)
  const installed = new Set(versions(readFileSync(marker, 'utf8')))
  return versions(readFileSync(join(folder, 'package-lock.json'), 'utf8')).every((one) => installed.has(one))
}

function run(program, args, cwd) {
  const { status } = spawnSync(program, args, { cwd, stdio: 'inherit', shell: process.platform === 'win32' })
  if (status !== 0) process.exit(status ?? 1)
}
