import { spawnSync } from 'node:child_process'
import { relative } from 'node:path'
import { fileURLToPath } from 'node:url'

/**
 * Runs Jest with the arguments given, and with Postgres and Redis where one of the test files uses them. Its exit code is
 * Jest's.
 */
const root = fileURLToPath(new URL('..', import.meta.url))
const jest = ['--experimental-vm-modules', '--no-warnings', 'node_modules/jest/bin/jest.js']
const args = process.argv.slice(2)

/** Tests elsewhere use servers. */
const withoutServers = ['test/unit/', 'test/consistency/', 'test/model/']

function usesServers() {
  if (args.length === 0) return true
  const listed = spawnSync(process.execPath, [...jest, '--listTests', '--json', ...args], {
    cwd: root,
    encoding: 'utf8',
  })
  // Jest itself says what is wrong with the arguments.
  if (listed.status !== 0) return false
  const files = JSON.parse(listed.stdout).map((file) => relative(root, file))
  return files.some((file) => !withoutServers.some((folder) => file.startsWith(folder)))
}

const command = [process.execPath, ...jest, ...args]
const withServers = ['dist/tools/local-stack/run.js', '--', ...command]
const { status } = spawnSync(process.execPath, usesServers() ? withServers : command.slice(1), {
  cwd: root,
  stdio: 'inherit',
})
process.exitCode = status ?? 1
