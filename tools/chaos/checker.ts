import { Distribution } from './distribution.js'
import { FoundViolations } from './found-violations.js'
import type {
  BeginRecord,
  FailedRecord,
  FaultRecord,
  FinalJournalRecord,
  FinalNodeRecord,
  FinalReadRecord,
  HistoryRecord,
  Observed,
  ReadRecord,
  RemovingRecord,
  WriteRecord,
} from './history.js'
import { KnownVersions } from './known-versions.js'
import type { Verdict } from './verdict.js'

/** The kind of fault after which a node answers what had been waiting for it. */
export const pausedNode = 'node paused for longer than its lease'

const writesInContext = 6

/** What is known of one key. */
class Key {
  readonly known = new KnownVersions()
  /** The value that each version was first seen, or acknowledged, with; deleted once the database confirms it. */
  readonly unconfirmed = new Map<number, { value: string; record: ReadRecord | WriteRecord }>()
  readonly lastWrites: WriteRecord[] = []
  /** The newest version that a removal which had been sent could have made. */
  removal = 0
  newestCommitted = 0
  newestCommittedValue = ''
}

/** What a client has been told by answers with tokens. */
class Session {
  readonly seen = new Map<string, number>()
  /** When its newest acknowledged write was sent: everything known by then is in the token of the answer. */
  wroteAt = -1
}

/**
 * Judges a history in one pass and in the order of its records: what is known when a read arrives includes all
 * that was known when it began. A moment of commit is never taken to be earlier than it can have been: an answer
 * came, or a reader saw the version. So what it calls a violation is one, whatever the order of the unknown.
 */
export class HistoryChecker {
  readonly #keys = new Map<string, Key>()
  readonly #sessions = new Map<number, Session>()
  readonly #refused = new Map<string, WriteRecord>()
  readonly #finalReads: FinalReadRecord[] = []
  readonly #violations = new FoundViolations()
  readonly #staleness = new Distribution()
  readonly #latency = new Distribution()
  readonly #tiers = { l1: 0, l2: 0, miss: 0, bypass: 0 }
  readonly #writes = { committed: 0, refused: 0, unknown: 0 }
  readonly #failedReads = new Map<number, number>()
  readonly #faults = new Map<string, number>()
  #begin: BeginRecord | undefined
  #reads = 0
  #withToken = 0
  #marked = 0
  #answeredAfterPause = 0
  /** The last pause of each node. */
  readonly #pauses = new Map<number, { readonly from: number; readonly until: number }>()
  #committedVersions = 0

  accept(record: HistoryRecord): void {
    switch (record.kind) {
      case 'begin':
        this.#begin = record
        break
      case 'read':
        this.#read(record)
        break
      case 'write':
        this.#write(record)
        break
      case 'removing':
        this.#removing(record)
        break
      case 'failed':
        this.#failed(record)
        break
      case 'fault':
        this.#fault(record)
        break
      case 'committed':
        this.#committed(record)
        break
      case 'final-read':
        this.#finalReads.push(record)
        break
      case 'final-node':
        this.#finalNode(record)
        break
      case 'final-journal':
        this.#finalJournal(record)
        break
    }
  }

  /** After the last record, which must be preceded by every committed version. */
  finish(): Verdict {
    for (const [name, key] of this.#keys) {
      for (const [version, { value, record }] of key.unconfirmed) {
        if (record.kind === 'read') {
          this.#violations.add(
            'uncommitted value',
            `${name} was read as version ${version}, ${JSON.stringify(value)}, which was never committed`,
            record,
            key.lastWrites,
          )
        } else {
          this.#violations.add(
            'acknowledged write lost',
            `version ${version} of ${name}, ${JSON.stringify(value)}, was acknowledged and is not in the database`,
            record,
            key.lastWrites,
          )
        }
      }
    }
    for (const record of this.#finalReads) this.#finalRead(record)
    return {
      begin: this.#begin,
      reads: this.#reads,
      withToken: this.#withToken,
      marked: this.#marked,
      tiers: this.#tiers,
      failedReads: this.#failedReads,
      writes: this.#writes,
      committedVersions: this.#committedVersions,
      faults: this.#faults,
      staleness: this.#staleness,
      answeredAfterPause: this.#answeredAfterPause,
      latency: this.#latency,
      violations: this.#violations.counts,
      examples: this.#violations.examples,
    }
  }

  #read(record: ReadRecord): void {
    this.#reads++
    this.#tiers[record.tier]++
    this.#latency.add(record.arrivedAt - record.sentAt)
    if (record.token) this.#withToken++
    if (record.marked) this.#marked++
    const pause = this.#pauses.get(record.node)
    if (pause && record.sentAt >= pause.from && record.sentAt < pause.until) this.#answeredAfterPause++
    const session = this.#session(record.client)
    let lackedFor = 0
    for (const observed of record.seen) {
      lackedFor = Math.max(lackedFor, this.#observed(record, observed, session))
    }
    if (lackedFor > 0) this.#staleness.add(lackedFor)
  }

  /** @returns µs since when a newer version was known; 0 if none was when the read began, or it is marked */
  #observed(record: ReadRecord, { key: name, version, value }: Observed, session: Session): number {
    const key = this.#key(name)
    const { sentAt, arrivedAt, marked, token } = record
    // Removed, at the newest moment at which that is possible: an absence has no version.
    const shown = version === 0 ? key.removal : version
    if (token) {
      const required = Math.max(session.seen.get(name) ?? 0, key.known.newestAt(session.wroteAt))
      if (shown < required) {
        this.#violations.add(
          'older than the token',
          `${name} was read as version ${version} by a client whose token stands for ${required}`,
          record,
          key.lastWrites,
        )
      }
    }
    let lackedFor = 0
    if (!marked && shown < key.known.newest) {
      const replacedAt = key.known.replacedAt(shown) as number
      lackedFor = Math.max(0, sentAt - replacedAt)
      if (lackedFor > this.#boundUs) {
        this.#violations.add(
          'older than the bound',
          `${name} was read as version ${version}, ${lackedFor / 1_000} ms after a newer one was known`,
          record,
          key.lastWrites,
        )
      }
    }
    if (version > 0) {
      this.#confirmable(key, name, version, value, record)
      key.known.note(version, arrivedAt)
      // Also without a token: the one that came with the answer goes with the next request.
      if (version > (session.seen.get(name) ?? 0)) session.seen.set(name, version)
    }
    return lackedFor
  }

  #write(record: WriteRecord): void {
    this.#writes[record.outcome]++
    const { key: name, version, value, sentAt, arrivedAt, outcome } = record
    const key = this.#key(name)
    key.lastWrites.push(record)
    if (key.lastWrites.length > writesInContext) key.lastWrites.shift()
    if (outcome === 'refused') this.#refused.set(value, record)
    if (outcome !== 'committed') return
    const session = this.#session(record.client)
    session.wroteAt = Math.max(session.wroteAt, sentAt)
    // Such as of a write to many keys at once, whose versions are learnt by reading them.
    if (version === 0) return
    this.#confirmable(key, name, version, value, record)
    key.known.note(version, arrivedAt)
    session.seen.set(name, Math.max(session.seen.get(name) ?? 0, version))
  }

  #confirmable(
    key: Key,
    name: string,
    version: number,
    value: string,
    record: ReadRecord | WriteRecord,
  ): void {
    const first = key.unconfirmed.get(version)
    if (!first) {
      key.unconfirmed.set(version, { value, record })
    } else if (first.value !== value) {
      this.#violations.add(
        'two values of one version',
        `version ${version} of ${name} was ${JSON.stringify(first.value)} and is ${JSON.stringify(value)}`,
        record,
        key.lastWrites,
      )
    } else if (record.kind === 'write' && first.record.kind === 'read') {
      // Acknowledged: if it is not in the database, that is the worse of the two.
      key.unconfirmed.set(version, { value, record })
    }
  }

  #committed({ key: name, version, value }: Observed): void {
    this.#committedVersions++
    const key = this.#key(name)
    const refused = value === '' ? undefined : this.#refused.get(value)
    if (refused) {
      this.#violations.add(
        'refused write committed',
        `${JSON.stringify(value)} was refused and is version ${version} of ${name}`,
        refused,
        key.lastWrites,
      )
    }
    if (version <= key.newestCommitted) {
      this.#violations.add(
        'two values of one version',
        `version ${version} of ${name} was committed after version ${key.newestCommitted}`,
        undefined,
        key.lastWrites,
      )
    }
    key.newestCommitted = version
    key.newestCommittedValue = value
    const expected = key.unconfirmed.get(version)
    // Another value stays unconfirmed: nobody committed that one.
    if (expected?.value === value) key.unconfirmed.delete(version)
  }

  #removing({ key: name, version }: RemovingRecord): void {
    const key = this.#key(name)
    key.removal = Math.max(key.removal, version)
  }

  #failed({ status }: FailedRecord): void {
    this.#failedReads.set(status, (this.#failedReads.get(status) ?? 0) + 1)
  }

  #fault(record: FaultRecord): void {
    if (record.phase === 'begins') this.#faults.set(record.fault, (this.#faults.get(record.fault) ?? 0) + 1)
    if (record.fault === pausedNode && record.node !== undefined) {
      const from = record.phase === 'begins' ? record.at : (this.#pauses.get(record.node)?.from ?? record.at)
      this.#pauses.set(record.node, { from, until: record.phase === 'begins' ? Infinity : record.at })
    }
    this.#violations.note(record)
  }

  #finalRead(record: FinalReadRecord): void {
    const key = this.#key(record.key)
    const removed = key.newestCommittedValue === ''
    const same = removed
      ? record.version === 0
      : record.version === key.newestCommitted && record.value === key.newestCommittedValue
    if (same && !record.marked) return
    this.#violations.add(
      'not converged',
      `node ${record.node} has ${record.key} as version ${record.version}${record.marked ? ', marked as stale' : ''}; ` +
        `the database has ${removed ? 'removed it' : `version ${key.newestCommitted}`}`,
      record,
      key.lastWrites,
    )
  }

  #finalNode(record: FinalNodeRecord): void {
    if (record.ready && record.applied === record.head && record.sameProcess) return
    this.#violations.add(
      'not converged',
      `node ${record.node}: ${record.ready ? 'ready' : 'not ready'}, applied ${record.applied} of ${record.head}` +
        `${record.sameProcess ? '' : ', and it had to be restarted'}`,
      record,
    )
  }

  #finalJournal(record: FinalJournalRecord): void {
    const { unnumbered, missing, mismatched, undelivered } = record
    if (unnumbered + missing + mismatched + undelivered === 0) return
    this.#violations.add(
      'event lost',
      `${unnumbered} events without a position, ${missing} positions without an event, ${mismatched} keys whose ` +
        `events are not their versions, ${undelivered} events not delivered to their handler`,
      record,
    )
  }

  #key(name: string): Key {
    let key = this.#keys.get(name)
    if (!key) {
      key = new Key()
      this.#keys.set(name, key)
    }
    return key
  }

  #session(client: number): Session {
    let session = this.#sessions.get(client)
    if (!session) {
      session = new Session()
      this.#sessions.set(client, session)
    }
    return session
  }

  get #boundUs(): number {
    return this.#begin?.boundUs ?? 0
  }
}
