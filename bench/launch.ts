/** Runs `main.js`, with the same arguments, on the Node of the service's image. `run.mjs` has compiled both. */
import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { chooseNode, type HostNode } from './node-of-image.js'

const root = fileURLToPath(new URL('../..', import.meta.url))
const main = fileURLToPath(new URL('main.js', import.meta.url))
/** A folder of its own, so that the older Node is not asked to run what the peers bring. */
const folder = join(root, 'bench', '.node')
const isWindows = process.platform === 'win32'
const program = join(folder, 'node_modules', 'node', 'bin', isWindows ? 'node.exe' : 'node')

const wanted = Number.parseInt(readFileSync(join(root, '.nvmrc'), 'utf8'), 10)
const host: HostNode = { path: process.execPath, version: process.version }
const args = process.argv.slice(2)
// Whoever only asks what there is does not wait for a download.
const chosen = args.includes('--help') ? undefined : chooseNode(wanted, host, install)
if (chosen) console.error(chosen.note)
const { status } = spawnSync(chosen?.path ?? host.path, [main, ...args], {
  stdio: 'inherit',
  env: { ...process.env, BENCH_HOST_NODE: chosen?.host ? JSON.stringify(chosen.host) : '' },
})
process.exitCode = status ?? 1

function install(): HostNode {
  if (!isInstalled()) {
    console.error(`installing Node ${wanted} …`)
    mkdirSync(folder, { recursive: true })
    // The package `node` fetches the program for this platform in its install script.
    const { status: code } = spawnSync(
      'npm',
      ['install', '--prefix', folder, '--no-save', '--no-audit', '--no-fund', '--loglevel=error'].concat(
        '--ignore-scripts=false',
        `node@${wanted}`,
      ),
      { cwd: folder, stdio: ['ignore', 'ignore', 'inherit'], shell: isWindows },
    )
    if (code !== 0 || !isInstalled()) throw new Error(`npm install ended with ${code}`)
  }
  return { path: program, version: versionOf(program) }
}

function isInstalled(): boolean {
  return existsSync(program) && Number.parseInt(versionOf(program).slice(1), 10) === wanted
}

function versionOf(path: string): string {
  return execFileSync(path, ['--version'], { encoding: 'utf8' }).trim()
}
