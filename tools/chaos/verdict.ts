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
  /** The last writes to the key, and the faults that were present or had ended shortly before. */
  readonly writes: readonly WriteRecord[]
  readonly faults: readonly FaultRecord[]
}

export interface Verdict {
  readonly begin: BeginRecord | undefined
  /** The reads that were judged, those of them with a token, and those whose answer was marked as stale. */
  readonly reads: number
  readonly withToken: number
  readonly marked: number
  readonly tiers: Readonly<Record<Tier, number>>
  readonly failedReads: ReadonlyMap<number, number>
  readonly writes: Readonly<Record<WriteRecord['outcome'], number>>
  readonly committedVersions: number
  readonly faults: ReadonlyMap<string, number>
  /** Unmarked reads that lacked a write known before they started, by how long it had been known. */
  readonly staleness: Distribution
  /** Reads that a paused node answered after its pause. */
  readonly answeredAfterPause: number
  readonly latency: Distribution
  readonly violations: ReadonlyMap<ViolationKind, number>
  /** The first violations of each kind, with their context. */
  readonly examples: readonly Violation[]
}
