/**
 * Ends what a local stack started, when its parent ends: `node reaper.js FOLDER`.
 *
 * It creates FOLDER, prints `ready`, and reads lines `pid N` from its standard input. The input ends when the parent calls
 * `stop()`, is interrupted, crashes or is killed. The reaper then ends every process whose pid it has read or whose command
 * line names FOLDER, removes FOLDER, and exits. A handler in the parent cannot do this, because none runs after SIGKILL.
 */
import { chmodSync, existsSync, mkdirSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { listProcesses, type ProcessEntry } from './process-table.js'

/** Enough time for Postgres to end its sessions. If it is killed, its System V memory segment remains. */
const GRACE_MS = 5_000
const POLL_MS = 25
/** Longer than a child of the parent needs from fork to exec. Until exec, it does not have its own command line. */
const SETTLE_MS = 100
const GIVE_UP_MS = 60_000

const folder = process.argv[2]
if (!folder) throw new Error('usage: reaper.js FOLDER')

// The hang-up of a terminal, or a signal to all processes of a name, must not end the process that cleans up.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => {})
// The parent may be gone before it reads `ready`.
process.stdout.on('error', () => {})

/** Start times by pid. The pid alone is not enough, because another process may have it by now. */
const registered = new Map<number, string>()

function register(pid: number): void {
  const entry = listProcesses().find((candidate) => candidate.pid === pid)
  if (entry) registered.set(pid, entry.startedAt)
  else if (process.platform === 'win32') registered.set(pid, '')
}

/** Our processes that still run. `groups` collects the groups that they lead, whose members are ours as well. */
function survivors(groups: Set<number>): ProcessEntry[] {
  const others = listProcesses().filter(({ pid }) => pid !== process.pid)
  const ours = others.filter(
    ({ pid, startedAt, command }) => registered.get(pid) === startedAt || command.includes(folder as string),
  )
  for (const { pid, group } of ours) if (pid === group) groups.add(group)
  // initdb's own children do not name the folder, but share its group.
  return others.filter((entry) => ours.includes(entry) || groups.has(entry.group))
}

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name)
  } catch {
    // It has ended meanwhile.
  }
}

async function endProcesses(): Promise<void> {
  const groups = new Set<number>()
  const asked = new Set<number>()
  const started = performance.now()
  if (process.platform === 'win32') for (const pid of registered.keys()) signal(pid, 'SIGKILL')
  for (;;) {
    const remaining = survivors(groups)
    if (remaining.length === 0) return
    const patient = performance.now() - started < GRACE_MS
    for (const { pid } of remaining) {
      if (!patient) signal(pid, 'SIGKILL')
      else if (!asked.has(pid)) {
        asked.add(pid)
        // Not SIGTERM, because Postgres would wait until its clients have disconnected.
        signal(pid, 'SIGINT')
        // A process that a test has paused gets the first signal only after this one.
        signal(pid, 'SIGCONT')
      }
    }
    await sleep(POLL_MS)
  }
}

async function reap(): Promise<void> {
  const started = performance.now()
  do {
    await endProcesses()
    await rm(folder as string, { recursive: true, force: true }).catch(() => {})
    // A child that the parent was starting may not have had the folder in its command line yet, and may create the folder
    // again.
    await sleep(SETTLE_MS)
    if (performance.now() - started > GIVE_UP_MS) process.exit(1)
  } while (existsSync(folder as string) || survivors(new Set()).length > 0)
  process.exit(0)
}

// Created here and not by the parent, so that there is always a process to remove it.
mkdirSync(folder)
// Set whatever the umask is. If this is root, Postgres runs as another user, who must be able to enter.
chmodSync(folder, 0o755)
process.stdout.write('ready\n')

let reaping = false
const parentEnded = () => {
  if (reaping) return
  reaping = true
  void reap()
}
process.stdin.on('error', parentEnded)
createInterface({ input: process.stdin })
  .on('line', (line) => {
    const pid = /^pid (\d+)$/.exec(line)?.[1]
    if (pid) register(Number(pid))
  })
  .on('close', parentEnded)
