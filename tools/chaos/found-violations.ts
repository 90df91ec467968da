import type { FaultRecord, HistoryRecord, WriteRecord } from './history.js'
import type { Violation, ViolationKind } from './verdict.js'

const examplesOfAKind = 5
const faultsRemembered = 60
/** For how many µs after its end a fault is shown with a violation. */
const aftermathUs = 10_000_000

/** Counts violations, and keeps the first ones of each kind with the writes and faults around them. */
export class FoundViolations {
  readonly counts = new Map<ViolationKind, number>()
  readonly examples: Violation[] = []
  readonly #recentFaults: FaultRecord[] = []

  note(fault: FaultRecord): void {
    this.#recentFaults.push(fault)
    if (this.#recentFaults.length > faultsRemembered) this.#recentFaults.shift()
  }

  /** @param writes the last writes to the key of the violation */
  add(
    kind: ViolationKind,
    what: string,
    record: HistoryRecord | undefined,
    writes: readonly WriteRecord[] = [],
  ): void {
    this.counts.set(kind, (this.counts.get(kind) ?? 0) + 1)
    if (this.examples.filter((example) => example.kind === kind).length >= examplesOfAKind) return
    this.examples.push({ kind, what, record, writes: [...writes], faults: this.#faultsAround(record) })
  }

  #faultsAround(record: HistoryRecord | undefined): FaultRecord[] {
    if (!record || !('sentAt' in record)) return []
    const { sentAt, arrivedAt } = record
    return this.#recentFaults.filter(
      (fault) =>
        fault.at <= arrivedAt &&
        (fault.phase === 'ends' ? fault.at >= sentAt - aftermathUs : !this.#hadEnded(fault, sentAt)),
    )
  }

  #hadEnded({ fault, at }: FaultRecord, sentAt: number): boolean {
    return this.#recentFaults.some(
      (other) => other.phase === 'ends' && other.fault === fault && other.at >= at && other.at < sentAt,
    )
  }
}
