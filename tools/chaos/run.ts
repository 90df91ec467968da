import { setMaxListeners } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { createNaiveTable } from '../demo/naive-table.js'
import { installAudit } from './audit.js'
import { HistoryChecker } from './checker.js'
import { Cluster } from './cluster.js'
import { noteConvergence } from './convergence.js'
import type { Fault } from './faults/fault.js'
import { allFaults } from './faults/index.js'
import { HistoryFile, readHistory } from './history.js'
import type { ChaosOptions } from './options.js'
import { Random } from './random.js'
import { type Report, reportOf } from './report.js'
import { RoundRobin } from './round-robin.js'
import { Schedule } from './schedule.js'
import { seedWorld } from './seed-world.js'
import { respelled } from './spelling.js'
import { Storm } from './storm.js'
import { Traffic } from './traffic.js'
import type { Verdict } from './verdict.js'

/** The default bound of the service. */
const boundMs = 2_000

/** How many requests may wait for one node. */
const outstandingLimit = 7

/** The time from the last fault to the end of the traffic. */
const afterglowMs = 3_000

/** A run of at least so many minutes must have every kind of fault. */
const fullRunMinutes = 2

export interface Progress {
  readonly phase: string
  readonly elapsedMs: number
  readonly records: number
  readonly faults: number
  readonly active: readonly string[]
}

export interface Run {
  readonly report: Report
  /** Whether the result is as it should be. */
  readonly passed: boolean
  /** The path of the history; undefined if it was removed. */
  readonly historyPath: string | undefined
}

/**
 * Makes one run, from the start of the first process to the verdict.
 *
 * @param signal ends the run early, without a verdict
 * @throws Error if a node or a server does not come back
 */
export async function runChaos(
  options: ChaosOptions,
  signal: AbortSignal,
  onProgress: (progress: Progress) => void,
): Promise<Run> {
  setMaxListeners(0, signal)
  const folder = await mkdtemp(join(tmpdir(), 'aftercommit-chaos-'))
  const historyPath = join(folder, 'history.ndjson')
  let keep = options.keep
  try {
    const faults = faultsFor(options)
    const seconds = await record(options, faults, historyPath, signal, onProgress)
    const verdict = await judge(historyPath)
    const notShown = faults.map(({ kind }) => kind).filter((kind) => !verdict.faults.has(kind))
    const report = reportOf(verdict, options, boundMs, seconds, notShown)
    keep ||= report.violationCount > 0
    return { report, passed: hasPassed(report), historyPath: keep ? historyPath : undefined }
  } finally {
    if (!keep) await rm(folder, { recursive: true, force: true })
  }
}

function faultsFor({ mode, only, without }: ChaosOptions): Fault[] {
  const chosen = allFaults.filter(
    ({ kind, forNaive }) =>
      (mode === 'aftercommit' || forNaive) &&
      (only.length === 0 || only.some((word) => kind.includes(word))) &&
      !without.some((word) => kind.includes(word)),
  )
  if (chosen.length === 0) throw new Error('no kind of fault contains these words')
  for (const { kind, missing } of chosen) {
    const reason = missing?.()
    if (reason !== undefined)
      throw new Error(`"${kind}" cannot be caused, because ${reason}; use --without to leave it out`)
  }
  return chosen
}

function hasPassed({ mode, minutes, violationCount, notShown }: Report): boolean {
  // The clients and the checker are the same. If they find violations there, they can find them here.
  if (mode === 'naive') return violationCount > 0
  const isComplete = notShown.length === 0 || minutes < fullRunMinutes
  return violationCount === 0 && isComplete
}

/** @returns how many seconds the traffic lasted */
async function record(
  options: ChaosOptions,
  faults: readonly Fault[],
  historyPath: string,
  signal: AbortSignal,
  onProgress: (progress: Progress) => void,
): Promise<number> {
  const { nodes: count, seed, mode, minutes, rate } = options
  const history = new HistoryFile(historyPath)
  history.append({ kind: 'begin', seed, nodes: count, boundUs: boundMs * 1_000, mode })
  const cluster = await Cluster.start(count, mode, boundMs, async (postgres) => {
    if (mode === 'naive') await createNaiveTable((statement) => postgres.rows(statement))
  })
  // After an interrupt, nobody should have to wait for a node that does not start.
  const stopped = new Promise<never>((_, reject) =>
    signal.addEventListener('abort', () => reject(new Error('interrupted')), { once: true }),
  )
  const startedAt = performance.now()
  let phase = 'starting'
  let traffic: Traffic | undefined
  const storm = new Storm({
    cluster,
    schedule: new Schedule(seed, faults),
    history,
    boundMs,
    durationMs: minutes * 60_000,
    signal,
    ask: ({ number }) => traffic?.ask(number),
  })
  const timer = setInterval(() => {
    const faultCount = [...storm.shown.values()].reduce((sum, shown) => sum + shown, 0)
    onProgress({
      phase,
      elapsedMs: performance.now() - startedAt,
      records: history.records,
      faults: faultCount,
      active: [...storm.active],
    })
  }, 1_000)
  const work = async () => {
    await installAudit(cluster.postgres, mode)
    const world = await seedWorld(cluster, mode)
    const ports = cluster.nodes.map(({ port }) => port)
    const balancer = new RoundRobin(count, outstandingLimit)
    const trafficAt = performance.now()
    const random = new Random(seed ^ 0x5eed)
    const spelling = random.fork()
    // The naive nodes do not normalise ids, and the comparison is not about that.
    const spell = (path: string) => (mode === 'naive' ? path : respelled(path, spelling))
    traffic = new Traffic(world, { history, balancer, ports, spell }, random, mode, rate)
    try {
      phase = 'faults'
      await storm.rage()
      phase = 'calm'
      await sleep(afterglowMs)
    } finally {
      await traffic.stop()
    }
    const seconds = (performance.now() - trafficAt) / 1_000
    phase = 'convergence'
    await noteConvergence(cluster, world, history, mode, boundMs)
    return seconds
  }
  try {
    return await Promise.race([work(), stopped])
  } finally {
    clearInterval(timer)
    await cluster.stop()
    history.close()
  }
}

async function judge(historyPath: string): Promise<Verdict> {
  const checker = new HistoryChecker()
  for await (const record of readHistory(historyPath)) checker.accept(record)
  return checker.finish()
}
