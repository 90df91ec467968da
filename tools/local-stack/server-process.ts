import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync, openSync, readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { PortTaken } from './free-port.js'

const START_LIMIT_MS = 30_000
const POLL_MS = 20

export interface LoggedCommand {
  readonly program: string
  readonly args: readonly string[]
  /** Receives standard output and error. It is emptied first. */
  readonly logFile: string
  /** The user to run it as; the present one by default. */
  readonly user?: { readonly uid: number; readonly gid: number } | undefined
}

export interface ServerCommand extends LoggedCommand {
  readonly port: number
  /** The text that the server logs once it accepts connections. */
  readonly ready: string
}

export interface ServerProcess {
  readonly pid: number
  /** Settles when the server ends. It does not keep this process alive until then. */
  readonly exited: Promise<unknown>
  /** From now on, keeps this process alive until the server ends. */
  ref(): void
}

/**
 * Starts a server and waits until it accepts connections, for at most 30 s.
 *
 * @throws PortTaken if another process listens on its port
 * @throws Error with the reason from its log if it ends or is not ready in time
 */
export async function startServer(command: ServerCommand): Promise<ServerProcess> {
  const { program, port, logFile, ready } = command
  const { child, exited } = spawnLogged(command)
  const { pid } = child
  let end: string | undefined
  void exited.then((value) => {
    end = value
  })
  const deadline = performance.now() + START_LIMIT_MS
  while (end === undefined) {
    // Only its log is reliable: on the port, the server of another stack could answer.
    if (pid !== undefined && readFileSync(logFile, 'utf8').includes(ready)) {
      // Servers end with this process, so it must not wait for them.
      child.unref()
      return { pid, exited, ref: () => child.ref() }
    }
    if (performance.now() > deadline) {
      child.kill('SIGKILL')
      throw new Error(`${program} was not ready after ${START_LIMIT_MS / 1000} s: ${reasonIn(logFile)}`)
    }
    await Promise.race([exited, sleep(POLL_MS)])
  }
  if (/address already in use/i.test(readFileSync(logFile, 'utf8'))) throw new PortTaken(port)
  throw new Error(`${program} did not start, ${end}: ${reasonIn(logFile)}`)
}

/**
 * Runs a program and waits until it has ended.
 *
 * @throws Error with the reason from its log if it fails
 */
export async function runToEnd(command: LoggedCommand): Promise<void> {
  const end = await spawnLogged(command).exited
  if (end !== 'exit 0') throw new Error(`${command.program} failed, ${end}: ${reasonIn(command.logFile)}`)
}

function spawnLogged({ program, args, logFile, user }: LoggedCommand): {
  child: ChildProcess
  exited: Promise<string>
} {
  // A file and not a pipe, because nobody has to read it, and it does not break if this process ends first.
  const log = openSync(logFile, 'w')
  const child = spawn(program, args, {
    // Ctrl-C must not stop the servers while nodes are finishing their work. Also, the reaper finds the children of initdb by
    // the group that initdb leads.
    detached: true,
    stdio: ['ignore', log, log],
    // It does not inherit the environment, because PGDATA or a locale would change what the servers do and log.
    env: { PATH: process.env.PATH, LC_ALL: 'C' },
    ...user,
  })
  closeSync(log)
  const exited = new Promise<string>((resolve) => {
    child.once('error', (error) => resolve(error.message))
    child.once('exit', (code, signal) => resolve(`exit ${code ?? signal}`))
  })
  return { child, exited }
}

/** The last line of a log that mentions an error, or otherwise the last line. */
function reasonIn(logFile: string): string {
  const lines = readFileSync(logFile, 'utf8').trimEnd().split('\n')
  return lines.findLast((line) => /error|fatal|could not|failed/i.test(line)) ?? (lines.at(-1) || 'no output')
}
