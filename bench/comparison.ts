import { cpus } from 'node:os'
import type { LocalStack } from '../tools/local-stack/index.js'
import type { EntrantSettings, Sample } from './entrant.js'
import { EntrantClient } from './entrant-client.js'
import type { HostNode } from './node-of-image.js'

export type Role = 'ours' | 'limit' | 'peer'

/** One side of a comparison: a function of a compiled module that opens an entrant. */
export interface Contestant {
  readonly name: string
  readonly role: Role
  /** URL of the module, and which of its exports to call. */
  readonly module: string
  readonly open: string
  readonly settings?: Readonly<Record<string, string | number | boolean>>
  /** The path of the Node that runs it; by default the one that runs the suites. */
  readonly node?: string
}

export interface Measured extends Pick<Contestant, 'name' | 'role'> {
  /** One sample a round; the same index is the same round, whoever was measured. */
  readonly samples: readonly Sample[]
}

export interface Measurement {
  readonly measured: readonly Measured[]
  /** Share of all cores' time that was not idle while rounds ran, 0 to 1. */
  readonly busy: number
}

/** What suites get to work with. */
export interface Bench {
  readonly stack: LocalStack
  readonly quick: boolean
  /** Rounds of each contestant, unless a suite says otherwise. */
  readonly rounds: number
  /** Where V8 profiles of our own entrants go; undefined: nothing is profiled. */
  readonly profileFolder: string | undefined
  /** The host's Node, if the suites run on another one. */
  readonly hostNode: HostNode | undefined
  progress(text: string): void
}

/**
 * Measures all contestants in one run, a round of each in turn, so that whatever slows the machine down for a while
 * slows them all. The first round of each warms up and does not count. Those that share tables or keys take their
 * turns strictly one after the other.
 *
 * @throws Error naming the contestant that failed
 */
export async function compare(
  bench: Bench,
  contestants: readonly Contestant[],
  rounds = bench.rounds,
): Promise<Measurement> {
  const clients: EntrantClient[] = []
  const samples = contestants.map((): Sample[] => [])
  let before: ReturnType<typeof cpuTimes> | undefined
  try {
    for (const contestant of contestants) clients.push(await open(bench, contestant))
    for (let round = -1; round < rounds; round++) {
      if (round === 0) before = cpuTimes()
      for (let turn = 0; turn < clients.length; turn++) {
        // Each begins a round in its turn: who follows whom must not matter.
        const index = (turn + round + clients.length) % clients.length
        const client = clients[index] as EntrantClient
        bench.progress(`${client.name}, ${round < 0 ? 'warming up' : `round ${round + 1} of ${rounds}`}`)
        const sample = await client.round()
        if (round >= 0) samples[index]?.push(sample)
      }
    }
    return {
      measured: contestants.map(({ name, role }, index) => ({ name, role, samples: samples[index] ?? [] })),
      busy: busySince(before ?? cpuTimes()),
    }
  } finally {
    await Promise.all(clients.map((client) => client.close()))
  }
}

async function open(bench: Bench, contestant: Contestant): Promise<EntrantClient> {
  const { name, role, module, settings } = contestant
  const { stack, profileFolder } = bench
  bench.progress(`${name}, opening`)
  const given: EntrantSettings = {
    // A database for each, so that nobody's tables or vacuum are another's burden.
    databaseUrl: await stack.createDatabase(),
    redisUrl: stack.redisUrl ?? '',
    quick: bench.quick,
    ...settings,
  }
  const profiling = profileFolder && role === 'ours' ? ['--cpu-prof', `--cpu-prof-dir=${profileFolder}`] : []
  const client = new EntrantClient(
    name,
    module,
    contestant.open,
    given,
    stack.watch,
    profiling,
    contestant.node,
  )
  await client.ready()
  return client
}

function cpuTimes(): { readonly idle: number; readonly all: number } {
  let idle = 0
  let all = 0
  for (const { times } of cpus()) {
    idle += times.idle
    all += times.idle + times.user + times.sys + times.nice + times.irq
  }
  return { idle, all }
}

function busySince(before: { idle: number; all: number }): number {
  const now = cpuTimes()
  return 1 - (now.idle - before.idle) / Math.max(1, now.all - before.all)
}
