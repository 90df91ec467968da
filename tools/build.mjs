import { spawnSync } from 'node:child_process'
import { mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'

/**
 * Compiles into dist/, one process at a time. Without the lock, two demos that start at the same time in one clone could load
 * files that the other is writing. A process that has waited finds everything compiled, and its compiler writes nothing.
 */
const root = fileURLToPath(new URL('..', import.meta.url))
const lock = join(root, 'node_modules', '.aftercommit-build.lock')

while (!acquire()) await sleep(50)
process.on('exit', () => rmSync(lock, { recursive: true, force: true }))
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(1))

const compiler = join(root, 'node_modules', 'typescript', 'bin', 'tsc')
const { status } = spawnSync(process.execPath, [compiler, '-p', join(root, 'tsconfig.build.json')], {
  stdio: 'inherit',
})
process.exitCode = status ?? 1

function acquire() {
  try {
    mkdirSync(lock)
    writeFileSync(join(lock, 'pid'), String(process.pid))
    return true
  } catch (error) {
    if (error.code !== 'EEXIST') throw error
    if (isAbandoned()) rmSync(lock, { recursive: true, force: true })
    return false
  }
}

/** Whether the process that holds the lock is gone, or ended before it wrote its pid. */
function isAbandoned() {
  try {
    process.kill(Number(readFileSync(join(lock, 'pid'), 'utf8')), 0)
    return false
  } catch (error) {
    if (error.code === 'ESRCH') return true
    try {
      return error.code === 'ENOENT' && Date.now() - statSync(lock).mtimeMs > 2_000
    } catch {
      return false
    }
  }
}
