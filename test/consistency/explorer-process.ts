import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { compileExplorer, compileWithout } from './compiled.mjs'
import type { Guard } from './guards.js'

/** Explores in a process of plain Node: within Jest, whose modules are contexts of their own, it takes eight times as long. */
export class ExplorerProcess<Explored extends { readonly failure?: string | undefined }> {
  readonly #folder = mkdtempSync(join(tmpdir(), 'aftercommit-explorer-'))

  /**
   * @param program that explores, and tells what it found as JSON
   * @param guard to be taken out of the code first
   */
  constructor(
    private readonly program: string,
    guard?: Pick<Guard, 'file' | 'snippet' | 'without'>,
  ) {
    compileExplorer(this.#folder)
    if (guard) compileWithout(this.#folder, guard)
  }

  /** @throws Error with the trace of a run that broke a promise */
  async explore(...args: readonly (string | number)[]): Promise<Explored> {
    const program = join(this.#folder, this.program.replace(/\.ts$/, '.js'))
    const { stdout } = await promisify(execFile)(process.execPath, [
      '--no-warnings',
      program,
      ...args.map(String),
    ])
    const explored = JSON.parse(stdout) as Explored
    if (explored.failure) throw new Error(explored.failure)
    return explored
  }

  remove(): void {
    rmSync(this.#folder, { recursive: true, force: true })
  }
}
