import { Distribution } from './distribution.js'
import type { BeginRecord, FailedRecord, FaultRecord, ReadRecord, WriteRecord } from './history.js'

/** The kind of fault after which a node answers requests that had waited for it. */
export const pausedNode = 'node paused for longer than its lease'

/** Counts the records of a history without judging them. */
export class Tally {
  begin: BeginRecord | undefined
  reads = 0
  withToken = 0
  marked = 0
  committedVersions = 0
  answeredAfterPause = 0
  readonly tiers = { l1: 0, l2: 0, miss: 0, bypass: 0 }
  readonly writes = { committed: 0, refused: 0, unknown: 0 }
  readonly failedReads = new Map<number, number>()
  readonly faults = new Map<string, number>()
  readonly staleness = new Distribution()
  readonly latency = new Distribution()
  /** The last pause of each node. */
  readonly #pauses = new Map<number, { readonly from: number; readonly until: number }>()

  read({ tier, sentAt, arrivedAt, token, marked, node }: ReadRecord): void {
    this.reads++
    this.tiers[tier]++
    this.latency.add(arrivedAt - sentAt)
    if (token) this.withToken++
    if (marked) this.marked++
    const pause = this.#pauses.get(node)
    if (pause && sentAt >= pause.from && sentAt < pause.until) this.answeredAfterPause++
  }

  write({ outcome }: WriteRecord): void {
    this.writes[outcome]++
  }

  failed({ status }: FailedRecord): void {
    this.failedReads.set(status, (this.failedReads.get(status) ?? 0) + 1)
  }

  fault({ fault, phase, node, at }: FaultRecord): void {
    const begins = phase === 'begins'
    if (begins) this.faults.set(fault, (this.faults.get(fault) ?? 0) + 1)
    if (fault !== pausedNode || node === undefined) return
    const from = begins ? at : (this.#pauses.get(node)?.from ?? at)
    this.#pauses.set(node, { from, until: begins ? Number.POSITIVE_INFINITY : at })
  }
}
