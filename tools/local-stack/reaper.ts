/**
 * Ends what a local stack started, when its parent ends: `node reaper.js FOLDER`.
 *
 * It creates FOLDER, prints `ready`, and reads lines `pid N` from its standard input. When the input ends,
 * because the parent called `stop()`, was interrupted, crashed or was killed, it ends every process it was told
 * of and every process whose command line names FOLDER, removes FOLDER and exits. No handler in the parent can
 * do this: none of them runs after SIGKILL.
 */
import { chmodSync, existsSync, mkdirSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { listProcesses, type ProcessEntry } from './process-table.js'

/** Enough for Postgres to end its sessions; killed outright, it leaks its System V memory segment. */
const GRACE_MS = 5_000
const POLL_MS = 25
/** Longer than a child of the parent needs between fork and exec, where its command line is not its own yet. */
const SETTLE_MS = 100
const GIVE_UP_MS = 60_000

const folder = process.argv[2]
if (!folder) throw new Error('usage: reaper.js FOLDER')

// A terminal's hang-up, or a signal to every process by name, must not take away the one that cleans up.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => {})
// The parent may be gone before it reads `ready`.
process.stdout.on('error', () => {})

/** Start time by pid. A pid alone could by now belong to a process that is none of ours. */
const registered = new Map<number, string>()

function register(pid: number): void {
  const entry = listProcesses().find((candidate) => candidate.pid === pid)
  if (entry) registered.set(pid, entry.startedAt)
  else if (process.platform === 'win32') registered.set(pid, '')
}

/** What is ours and still runs; `groups` collects the process groups that ours lead, with all their members. */
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
    // It ended in the meantime.
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
        // Not SIGTERM: with it, Postgres waits for its clients to leave.
        signal(pid, 'SIGINT')
        // A process that a test has paused does not see the first signal before this one.
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
    // A child that the parent was just starting may not have named the folder yet, and create it again.
    await sleep(SETTLE_MS)
    if (performance.now() - started > GIVE_UP_MS) process.exit(1)
  } while (existsSync(folder as string) || survivors(new Set()).length > 0)
  process.exit(0)
}

// Created here and not by the parent, so that at no moment it exists without somebody to remove it.
mkdirSync(folder)
// Whatever the umask: as root, Postgres runs as another user, who must be able to enter.
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
