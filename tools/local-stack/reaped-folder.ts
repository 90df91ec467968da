import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { realpath } from 'node:fs/promises'
import { Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { compiledFile } from './compiled-file.js'

/** A temporary folder that ends with this process, and with it every process that runs in it. */
export interface ReapedFolder {
  readonly path: string
  /** Ends the process `pid`, too. Not needed for one whose command line names the folder. */
  watch(pid: number): void
  /**
   * Ends the processes, removes the folder and waits until both are done.
   *
   * @throws Error when the folder could not be removed
   */
  close(): Promise<void>
}

/**
 * Creates a fresh folder below `os.tmpdir()`, guarded by a reaper process (see `reaper.ts`) that outlives this one
 * by as long as it takes to clean up.
 *
 * @throws Error when the folder cannot be created, or the project has not been built
 */
export async function openReapedFolder(): Promise<ReapedFolder> {
  const path = join(await realpath(tmpdir()), `aftercommit-${randomBytes(6).toString('hex')}`)
  const reaper = spawn(process.execPath, [compiledFile('tools/local-stack/reaper.js'), path], {
    // A session of its own: Ctrl-C goes to every process of the terminal's foreground group.
    detached: true,
    stdio: ['pipe', 'pipe', 'ignore'],
    cwd: tmpdir(),
    env: { PATH: process.env.PATH },
  })
  const exited = new Promise<number | null>((resolve) => {
    reaper.once('exit', resolve)
    reaper.once('error', () => resolve(null))
  })
  // The reaper may end first, when somebody kills it: no reason for this process to fail on its pipe.
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

// The end of this process is what the reaper waits for: waiting for the reaper in turn would never end, if
// somebody forgets to call close().
function letParentEnd(reaper: ChildProcess): void {
  reaper.unref()
  for (const stream of [reaper.stdin, reaper.stdout]) if (stream instanceof Socket) stream.unref()
}
