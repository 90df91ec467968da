import { type ChildProcess, fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type { EntrantSettings, Sample } from './entrant.js'

/** How long, in ms, an entrant may take to open, or for one round. */
const limitMs = 300_000

interface Reply {
  readonly sample?: Sample
  readonly failure?: string
}

/** One entrant, as its parent sees it. */
export class EntrantClient {
  readonly #child: ChildProcess
  readonly #ready: Promise<Reply>
  #settle: { resolve(reply: Reply): void; reject(error: Error): void } | undefined

  /**
   * @param execArgv options of Node, such as those of its profiler
   * @param execPath the Node to run it on
   */
  constructor(
    readonly name: string,
    module: string,
    open: string,
    settings: EntrantSettings,
    watch: (pid: number) => void,
    execArgv: readonly string[] = [],
    execPath = process.execPath,
  ) {
    const script = fileURLToPath(new URL('./entrant-process.js', import.meta.url))
    this.#child = fork(script, [module, open, JSON.stringify(settings)], {
      execPath,
      execArgv: ['--expose-gc', '--enable-source-maps', ...execArgv],
      // What a peer prints is not part of the table.
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    })
    if (this.#child.pid !== undefined) watch(this.#child.pid)
    this.#child.on('message', (reply) => this.#settle?.resolve(reply as Reply))
    this.#child.on('exit', (code) => this.#settle?.reject(new Error(`${name} ended with ${code}`)))
    // From now on: of several that are opened side by side, one is ready before it is waited for.
    this.#ready = this.#reply()
    this.#ready.catch(() => {})
  }

  async ready(): Promise<void> {
    await this.#ready
  }

  async round(): Promise<Sample> {
    const reply = this.#reply()
    this.#child.send('round')
    const { sample, failure } = await reply
    if (!sample) throw new Error(`${this.name}: ${failure}`)
    return sample
  }

  async close(): Promise<void> {
    if (this.#child.exitCode !== null || !this.#child.connected) return
    const exited = new Promise((resolve) => this.#child.once('exit', resolve))
    this.#settle = undefined
    this.#child.send('close')
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), 5_000)
    await exited
    clearTimeout(timer)
  }

  #reply(): Promise<Reply> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`${this.name} took too long`)), limitMs)
      this.#settle = {
        resolve: (reply) => {
          clearTimeout(timer)
          resolve(reply)
        },
        reject: (error) => {
          clearTimeout(timer)
          reject(error)
        },
      }
    })
  }
}
