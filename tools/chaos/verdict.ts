import type { Distribution } from './distribution.js'
import type { BeginRecord, FaultRecord, HistoryRecord, Tier, WriteRecord } from './history.js'

export type ViolationKind =
  | 'uncommitted value'
  | 'two values of one version'
  | 'older than the bound'
  | 'older than the token'
  | 'acknowledged write lost'
  | 'refused write committed'
  | 'event lost'
  | 'not converged'

export interface Violation {
  readonly kind: ViolationKind
  readonly what: string
  readonly record: HistoryRecord | undefined
  /** The last writes of the key before it, and the faults that were there, or had been a short while before. */
  readonly writes: readonly WriteRecord[]
  readonly faults: readonly FaultRecord[]
}

export interface Verdict {
  readonly begin: BeginRecord | undefined
  /** Reads that were judged, and how many of them carried a token, or were marked as stale. */
  readonly reads: number
  readonly withToken: number
  readonly marked: number
  readonly tiers: Readonly<Record<Tier, number>>
  readonly failedReads: ReadonlyMap<number, number>
  readonly writes: Readonly<Record<WriteRecord['outcome'], number>>
  readonly committedVersions: number
  readonly faults: ReadonlyMap<string, number>
  /** Unmarked reads that lacked a write known before they began, by how long it had been known. */
  readonly staleness: Distribution
  /** Reads that waited for a paused node and were answered once it went on. */
  readonly answeredAfterPause: number
  readonly latency: Distribution
  readonly violations: ReadonlyMap<ViolationKind, number>
  /** The first ones of each kind, with their context. */
  readonly examples: readonly Violation[]
}
