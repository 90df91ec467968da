import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { realpath } from 'node:fs/promises'
import { Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { compiledFile } from './compiled-file.js'

/** A temporary folder that is removed when this process ends. The processes that run in it end as well. */
export interface ReapedFolder {
  readonly path: string
  /** Makes the process `pid` end with the folder. A process whose command line names the folder does not need this. */
  watch(pid: number): void
  /**
   * Ends the processes, removes the folder and waits until both are done.
   *
   * @throws Error if the folder could not be removed
   */
  close(): Promise<void>
}

/**
 * Creates a new folder below `os.tmpdir()`. A reaper process (see `reaper.ts`) removes it when this process ends.
 *
 * @throws Error if the folder cannot be created, or the project has not been built
 */
export async function openReapedFolder(): Promise<ReapedFolder> {
  const path = join(await realpath(tmpdir()), `aftercommit-${randomBytes(6).toString('hex')}`)
  const reaper = spawn(process.execPath, [compiledFile('tools/local-stack/reaper.js'), path], {
    // In its own session, because Ctrl-C goes to every process of the terminal's foreground group.
    detached: true,
    stdio: ['pipe', 'pipe', 'ignore'],
    cwd: tmpdir(),
    env: { PATH: process.env.PATH },
  })
  const exited = new Promise<number | null>((resolve) => {
    reaper.once('exit', resolve)
    reaper.once('error', () => resolve(null))
  })
  // Somebody may kill the reaper. This process must not fail on its pipe then.
  reaper.stdin.on('error', () => {})
  const answer = await Promise.race([once(reaper.stdout, 'data'), exited])
  if (!Array.isArray(answer)) throw new Error(`Cannot create the folder ${path}`)
  letParentEnd(reaper)

  let closing: Promise<void> | undefined
  const close = async () => {
    reaper.ref()
    reaper.stdin.end()
    if ((await exited) !== 0) throw new Error(`Could not remove ${path} and what runs in it`)
  }
  return {
    path,
    watch: (pid) => void reaper.stdin.write(`pid ${pid}\n`),
    close: () => {
      closing ??= close()
      return closing
    },
  }
}

// The reaper waits for the end of this process. If this process also waited for the reaper, neither would end when close() is
// not called.
function letParentEnd(reaper: ChildProcess): void {
  reaper.unref()
  for (const stream of [reaper.stdin, reaper.stdout]) if (stream instanceof Socket) stream.unref()
}
