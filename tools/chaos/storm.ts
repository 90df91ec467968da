import { setTimeout as sleep } from 'node:timers/promises'
import type { Cluster, ClusterNode } from './cluster.js'
import type { LaneName } from './faults/fault.js'
import type { HistoryFile } from './history.js'
import { endedAt } from './history.js'
import type { Planned, Schedule } from './schedule.js'

/** The faults that may happen at once, by their lanes: two concern single nodes, so three of five nodes have none of these. */
const workers: readonly LaneName[] = ['node', 'node', 'redis', 'postgres']

export interface StormOptions {
  readonly cluster: Cluster
  readonly schedule: Schedule
  readonly history: HistoryFile
  readonly boundMs: number
  readonly durationMs: number
  readonly signal: AbortSignal
  readonly ask: (node: ClusterNode) => void
}

/** Causes the faults of a schedule for the duration of a run. */
export class Storm {
  /** The kinds of faults that are present now. */
  readonly active = new Set<string>()
  /** How often each kind has happened. */
  readonly shown = new Map<string, number>()
  #startedAt = 0

  constructor(private readonly options: StormOptions) {}

  /**
   * Resolves when all faults have ended.
   *
   * @throws Error that names the fault after which something did not come back
   */
  async rage(): Promise<void> {
    this.#startedAt = performance.now()
    await Promise.all(workers.map((lane) => this.#work(lane)))
  }

  get #elapsedMs(): number {
    return performance.now() - this.#startedAt
  }

  async #work(lane: LaneName): Promise<void> {
    const { schedule, durationMs, signal } = this.options
    while (!signal.aborted) {
      const planned = schedule.next(lane)
      if (!planned) return
      await this.#hold(planned.pauseMs)
      await this.#hold(schedule.untilStorm(this.#elapsedMs))
      if (signal.aborted || this.#elapsedMs >= durationMs) return
      await this.#strike(planned)
    }
  }

  async #strike({ fault, random }: Planned): Promise<void> {
    const { cluster, history, boundMs, ask } = this.options
    const note = (phase: 'begins' | 'ends', detail: string, node: number | undefined) =>
      history.append({
        kind: 'fault',
        fault: fault.kind,
        phase,
        at: endedAt(performance.now()),
        ...(node === undefined ? {} : { node }),
        detail,
      })
    let begun = false
    let concerned: number | undefined
    try {
      await fault.strike({
        cluster,
        random,
        boundMs,
        ask,
        hold: (ms) => this.#hold(ms),
        begins: (detail = '', node) => {
          begun = true
          concerned = node
          this.active.add(fault.kind)
          this.shown.set(fault.kind, (this.shown.get(fault.kind) ?? 0) + 1)
          note('begins', detail, node)
        },
      })
    } catch (error) {
      throw new Error(`${fault.kind}: ${(error as Error).message}`, { cause: error })
    } finally {
      this.active.delete(fault.kind)
      if (begun) note('ends', '', concerned)
    }
  }

  async #hold(ms: number): Promise<void> {
    await sleep(ms, undefined, { signal: this.options.signal }).catch(() => {})
  }
}
