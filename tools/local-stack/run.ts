/**
 * Runs a command with a local stack: `node dist/tools/local-stack/run.js -- COMMAND [ARGUMENT…]`. The command gets the URLs
 * of the servers in AFTERCOMMIT_TEST_DATABASE_URL and, if there is a Redis, in AFTERCOMMIT_TEST_REDIS_URL. This process exits
 * with the command's exit code, or with 128 plus the number of the signal that ended it.
 */
import { spawn } from 'node:child_process'
import { constants } from 'node:os'
import { withoutSecretFiles } from '../../src/secret-files.js'
import { type LocalStack, startLocalStack } from './local-stack.js'
import { TEST_DATABASE_URL, TEST_REDIS_URL } from './test-stack.js'

const COMMAND_NOT_FOUND = 127
const GRACE_MS = 10_000

function commandEnvironment(stack: LocalStack): NodeJS.ProcessEnv {
  // Removes the variables of a service, which would affect tests of settings.
  const { DATABASE_URL, REDIS_URL, [TEST_REDIS_URL]: outer, ...env } = withoutSecretFiles(process.env)
  env[TEST_DATABASE_URL] = stack.databaseUrl
  if (stack.redisUrl) env[TEST_REDIS_URL] = stack.redisUrl
  return env
}

function runCommand(stack: LocalStack, program: string, args: readonly string[]): Promise<number> {
  return new Promise((resolve) => {
    // In its own group, the command gets each signal once, from here, and not from the terminal as well. The reaper can also
    // end it together with its workers.
    const child = spawn(program, args, { detached: true, stdio: 'inherit', env: commandEnvironment(stack) })
    if (child.pid !== undefined) stack.watch(child.pid)
    const signalGroup = (signal: NodeJS.Signals) => {
      try {
        if (child.pid !== undefined) process.kill(-child.pid, signal)
      } catch {
        // It has already ended, and the stack is stopping.
      }
    }
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
      process.on(signal, () => {
        signalGroup(signal)
        setTimeout(signalGroup, GRACE_MS, 'SIGKILL').unref()
      })
    }
    child.once('error', (error) => {
      console.error(error.message)
      resolve(COMMAND_NOT_FOUND)
    })
    child.once('exit', (code, signal) => resolve(code ?? 128 + constants.signals[signal ?? 'SIGKILL']))
  })
}

const [separator, program, ...args] = process.argv.slice(2)
if (separator !== '--' || !program) {
  console.error('usage: run.js -- COMMAND [ARGUMENT…]')
  process.exit(2)
}
try {
  const stack = await startLocalStack()
  for (const note of stack.notes) console.error(note)
  try {
    process.exitCode = await runCommand(stack, program, args)
  } finally {
    await stack.stop()
  }
} catch (error) {
  console.error(error instanceof Error ? error.message : error)
  process.exitCode = 1
}
