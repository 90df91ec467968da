import { execFileSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'

export interface ProcessEntry {
  readonly pid: number
  readonly group: number
  /** Its unit and start differ between systems. Together with the pid it identifies a process. */
  readonly startedAt: string
  readonly command: string
}

/** The processes of this machine, without zombies. */
export function listProcesses(): ProcessEntry[] {
  if (process.platform === 'linux') return fromProc()
  if (process.platform === 'win32') return []
  return fromPs()
}

// Does not use `ps`, because slim container images do not have it.
function fromProc(): ProcessEntry[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map((name) => readProc(Number(name)))
    .filter((entry) => entry !== undefined)
}

function readProc(pid: number): ProcessEntry | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    // The second field is the program's name in parentheses. The name itself may contain spaces and parentheses.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    const [state, , group] = fields
    // In most containers PID 1 does not reap zombies. They remain for ever, and cannot be ended.
    if (state === 'Z' || state === 'X') return undefined
    const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ')
    return { pid, group: Number(group), startedAt: fields[19] ?? '', command }
  } catch {
    return undefined // It ended while being read.
  }
}

function fromPs(): ProcessEntry[] {
  const output = execFileSync('ps', ['-axww', '-o', 'pid=,pgid=,stat=,lstart=,command='], {
    encoding: 'utf8',
    env: { PATH: process.env.PATH, LC_ALL: 'C' },
    maxBuffer: 64 * 1024 * 1024,
  })
  return output.split('\n').flatMap((line) => {
    const match = /^\s*(\d+)\s+(\d+)\s+(\S+)\s+(\S+\s+\S+\s+\S+\s+\S+\s+\d{4})\s+(.*)$/.exec(line)
    if (!match) return []
    const [, pid, group, state, startedAt = '', command = ''] = match
    return state?.startsWith('Z') ? [] : [{ pid: Number(pid), group: Number(group), startedAt, command }]
  })
}
