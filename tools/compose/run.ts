/**
 * Runs a command beside the containers of docker-compose.yml: `node dist/tools/compose/run.js -- COMMAND [ARGUMENT…]`. It
 * starts them as a Compose project of their own, and removes them afterwards. The command finds the project's name in
 * AFTERCOMMIT_TEST_COMPOSE_PROJECT. This process exits with the command's exit code, with 128 plus the number of the signal
 * that ended it, or with 2 where no Docker engine answers.
 */
import { spawn } from 'node:child_process'
import { constants } from 'node:os'
import { TEST_PROJECT } from './containers.js'
import { lastLogLines } from './last-log-lines.js'
import { NoEngineError, Stack } from './stack.js'

const CANNOT_RUN = 2
const GRACE_MS = 10_000

const interrupted = new AbortController()
let interruptedBy: NodeJS.Signals | undefined
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.on(signal, () => {
    if (interruptedBy) return
    interruptedBy = signal
    console.error(`${signal}: removing the containers`)
    interrupted.abort()
  })
}

const exitCodeOf = (signal: NodeJS.Signals) => 128 + constants.signals[signal]

function runCommand(program: string, args: readonly string[], project: string): Promise<number> {
  return new Promise((resolve, reject) => {
    // In its own group, so that a signal from the terminal reaches it once, from here, with all that it has started.
    const child = spawn(program, args, {
      detached: true,
      stdio: 'inherit',
      env: { ...process.env, [TEST_PROJECT]: project },
    })
    const stop = (signal: NodeJS.Signals) => {
      try {
        if (child.pid !== undefined) process.kill(-child.pid, signal)
      } catch {
        // It has already ended.
      }
    }
    const interrupt = () => {
      stop('SIGTERM')
      setTimeout(stop, GRACE_MS, 'SIGKILL').unref()
    }
    if (interrupted.signal.aborted) interrupt()
    interrupted.signal.addEventListener('abort', interrupt, { once: true })
    child.once('error', reject)
    child.once('exit', (code, signal) => resolve(code ?? exitCodeOf(signal ?? 'SIGKILL')))
  })
}

async function runBeside(stack: Stack, program: string, args: readonly string[]): Promise<number> {
  const startedAt = performance.now()
  console.error(`Building the image and starting the containers as ${stack.project}`)
  try {
    await stack.up(interrupted.signal)
  } catch (error) {
    if (!interruptedBy) {
      console.error(lastLogLines(stack.project))
      console.error(`The containers did not start: ${error instanceof Error ? error.message : error}`)
    }
    return 1
  }
  console.error(`The containers run after ${Math.round((performance.now() - startedAt) / 1_000)} s`)
  return await runCommand(program, args, stack.project)
}

const [separator, program, ...args] = process.argv.slice(2)
if (separator !== '--' || !program) {
  console.error('usage: run.js -- COMMAND [ARGUMENT…]')
  process.exit(CANNOT_RUN)
}
try {
  const stack = await Stack.create()
  try {
    const exitCode = await runBeside(stack, program, args)
    process.exitCode = interruptedBy ? exitCodeOf(interruptedBy) : exitCode
  } finally {
    await stack.down()
  }
} catch (error) {
  console.error(error instanceof Error ? error.message : error)
  process.exitCode = error instanceof NoEngineError ? CANNOT_RUN : 1
}
