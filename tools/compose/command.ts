import { spawn } from 'node:child_process'

export interface CommandOptions {
  readonly cwd?: string
  readonly env?: Readonly<Record<string, string>>
  readonly signal?: AbortSignal
}

export interface Output {
  readonly stdout: string
  /** Both outputs, in the order in which they arrived. */
  readonly all: string
}

/** @throws if the command fails; the error contains the end of its output */
export function run(command: readonly string[], options: CommandOptions = {}): Promise<Output> {
  const { cwd, env, signal } = options
  const [program = '', ...args] = command
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted()
    // In its own group, so that Ctrl-C reaches only this process, which then removes everything in order.
    const child = spawn(program, args, {
      cwd,
      env: { ...process.env, ...env },
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    const stop = () => child.kill('SIGTERM')
    signal?.addEventListener('abort', stop, { once: true })
    let stdout = ''
    let all = ''
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      stdout += text
      all += text
    })
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      all += text
    })
    child.once('error', reject)
    child.once('close', (code) => {
      signal?.removeEventListener('abort', stop)
      if (code === 0) resolve({ stdout, all })
      else reject(new CommandError(command, all.trim()))
    })
  })
}

export class CommandError extends Error {
  override readonly name = 'CommandError'

  constructor(
    command: readonly string[],
    readonly output: string,
  ) {
    super(`${command.join(' ')} failed:\n${output.slice(-4_000)}`)
  }
}

/** @returns the standard output of a Docker command */
export async function docker(...args: readonly string[]): Promise<string> {
  return (await run(['docker', ...args])).stdout
}
