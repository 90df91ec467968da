import { faultOfJournal, faultOfNode } from './final-state.js'
import { FoundViolations } from './found-violations.js'
import type {
  FinalReadRecord,
  HistoryRecord,
  Observed,
  ReadRecord,
  RemovingRecord,
  WriteRecord,
} from './history.js'
import { KnownVersions } from './known-versions.js'
import { Tally } from './tally.js'
import type { Verdict, ViolationKind } from './verdict.js'

const writesInContext = 6

/** What is known about one key. */
class Key {
  readonly known = new KnownVersions()
  /** The value with which each version was first seen or acknowledged; deleted once the database confirms it. */
  readonly unconfirmed = new Map<number, { value: string; record: ReadRecord | WriteRecord }>()
  readonly lastWrites: WriteRecord[] = []
  /** The newest version that any removal sent so far could have made. */
  removal = 0
  newestCommitted = 0
  newestCommittedValue = ''
}

/** What a client knows from the answers to it. */
class Session {
  readonly seen = new Map<string, number>()
  /** When its newest acknowledged write was sent. The token of the answer covers everything known by then. */
  wroteAt = -1
}

/**
 * Judges a history in one pass, in the order of its records. When the answer to a read arrives, the checker knows all that was
 * known when the read started. It counts a version as committed only from the moment at which an answer confirmed or showed
 * it. So every violation that it reports is one, whatever happened between those moments.
 */
export class HistoryChecker {
  readonly #keys = new Map<string, Key>()
  readonly #sessions = new Map<number, Session>()
  readonly #refused = new Map<string, WriteRecord>()
  readonly #finalReads: FinalReadRecord[] = []
  readonly #violations = new FoundViolations()
  readonly #tally = new Tally()

  accept(record: HistoryRecord): void {
    switch (record.kind) {
      case 'begin':
        this.#tally.begin = record
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
        this.#tally.failed(record)
        break
      case 'fault':
        this.#tally.fault(record)
        this.#violations.note(record)
        break
      case 'committed':
        this.#committed(record)
        break
      case 'final-read':
        this.#finalReads.push(record)
        break
      case 'final-node':
        this.#final('not converged', faultOfNode(record), record)
        break
      case 'final-journal':
        this.#final('event lost', faultOfJournal(record), record)
        break
    }
  }

  /** Must be called after the last record, when every committed version has been accepted. */
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
    const { counts, examples } = this.#violations
    return { ...this.#tally, violations: counts, examples }
  }

  #read(record: ReadRecord): void {
    this.#tally.read(record)
    const session = this.#session(record.client)
    let lackedFor = 0
    for (const observed of record.seen) {
      lackedFor = Math.max(lackedFor, this.#observed(record, observed, session))
    }
    if (lackedFor > 0) this.#tally.staleness.add(lackedFor)
  }

  /** @returns for how many µs a newer version had been known when the read started; 0 if none was, or the answer is marked */
  #observed(record: ReadRecord, { key: name, version, value }: Observed, session: Session): number {
    const key = this.#key(name)
    const { sentAt, arrivedAt, marked, token } = record
    // An absence has no version. It counts as the newest removal that it can show.
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
      // Noted even if this read sent no token: the client sends the token of this answer with its next request.
      if (version > (session.seen.get(name) ?? 0)) session.seen.set(name, version)
    }
    return lackedFor
  }

  #write(record: WriteRecord): void {
    this.#tally.write(record)
    const { key: name, version, value, sentAt, arrivedAt, outcome } = record
    const key = this.#key(name)
    key.lastWrites.push(record)
    if (key.lastWrites.length > writesInContext) key.lastWrites.shift()
    if (outcome === 'refused') this.#refused.set(value, record)
    if (outcome !== 'committed') return
    const session = this.#session(record.client)
    session.wroteAt = Math.max(session.wroteAt, sentAt)
    // A write to many keys at once has no single version; reads show the versions.
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
      // If it is not in the database, a lost acknowledged write is the worse violation.
      key.unconfirmed.set(version, { value, record })
    }
  }

  #committed({ key: name, version, value }: Observed): void {
    this.#tally.committedVersions++
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
    // Another value stays unconfirmed, because it was never committed.
    if (expected?.value === value) key.unconfirmed.delete(version)
  }

  #removing({ key: name, version }: RemovingRecord): void {
    const key = this.#key(name)
    key.removal = Math.max(key.removal, version)
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

  #final(kind: ViolationKind, fault: string | undefined, record: HistoryRecord): void {
    if (fault !== undefined) this.#violations.add(kind, fault, record)
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
    return this.#tally.begin?.boundUs ?? 0
  }
}
