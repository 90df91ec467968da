import { type ChildProcess, fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type { EntrantSettings } from './entrant.js'

/** What one process of an entrant that consists of several can be told to do, by name. */
export type Member = Readonly<Record<string, (argument: number) => Promise<unknown>>>

export type OpenMember = (settings: EntrantSettings) => Promise<Member>

interface Reply {
  readonly result?: unknown
  readonly failure?: string
}

/** A process of an entrant, as the entrant sees it. It ends with the entrant's own process at the latest. */
export class MemberClient {
  readonly #child: ChildProcess
  #settle: ((reply: Reply) => void) | undefined
  readonly #ready: Promise<unknown>

  /** @param module URL of a compiled module that exports `open`, an `OpenMember` */
  constructor(module: string, open: string, settings: EntrantSettings) {
    const script = fileURLToPath(new URL('./member-process.js', import.meta.url))
    this.#child = fork(script, [module, open, JSON.stringify(settings)], {
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    })
    this.#child.on('message', (reply) => this.#settle?.(reply as Reply))
    this.#child.on('exit', (code) => this.#settle?.({ failure: `${open} ended with ${code}` }))
    this.#ready = this.#reply()
  }

  async ready(): Promise<this> {
    await this.#ready
    return this
  }

  /** One call at a time. */
  call(name: string, argument: number): Promise<unknown> {
    const reply = this.#reply()
    this.#child.send({ name, argument }, (error) => error && this.#settle?.({ failure: error.message }))
    return reply
  }

  async close(): Promise<void> {
    if (this.#child.exitCode !== null || !this.#child.connected) return
    const exited = new Promise((resolve) => this.#child.once('exit', resolve))
    this.#child.disconnect()
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), 2_000)
    await exited
    clearTimeout(timer)
  }

  #reply(): Promise<unknown> {
    return new Promise((resolve, reject) => {
      this.#settle = ({ result, failure }) =>
        failure === undefined ? resolve(result) : reject(new Error(failure))
    })
  }
}

/** Opens members side by side. */
export function openMembers(
  opens: readonly string[],
  module: string,
  settings: EntrantSettings,
): Promise<MemberClient[]> {
  return Promise.all(opens.map((open) => new MemberClient(module, open, settings).ready()))
}

/** Milliseconds of a clock that all processes of one machine share. */
export function sharedClock(): number {
  return Number(process.hrtime.bigint()) / 1e6
}
