import { closeSync, createReadStream, openSync, writeSync } from 'node:fs'
import { createInterface } from 'node:readline'

/** Where an answer came from, as its `Cache-Status` says. */
export const tiers = ['l1', 'l2', 'miss', 'bypass'] as const
export type Tier = (typeof tiers)[number]

/** What an answer showed of one key. Version 0: it said that there is no such thing. */
export interface Observed {
  readonly key: string
  readonly version: number
  readonly value: string
}

interface Operation {
  /** A client is one chain of operations: each begins when the one before has ended, except reads of one burst. */
  readonly client: number
  readonly node: number
  /** Whole µs on the monotonic clock of the clients: before the request was sent, and once its answer was there. */
  readonly sentAt: number
  readonly arrivedAt: number
  /** Whether the newest token of this client went with it. */
  readonly token: boolean
}

export interface ReadRecord extends Operation {
  readonly kind: 'read'
  readonly tier: Tier
  /** Whether the answer says itself that it may be stale. */
  readonly marked: boolean
  readonly seen: readonly Observed[]
}

export const outcomes = ['committed', 'refused', 'unknown'] as const

export interface WriteRecord extends Operation, Observed {
  readonly kind: 'write'
  /**
   * `refused`: the service said that nothing was written. `unknown`: an error, or no answer; it may be committed.
   * The version is 0 unless it is committed.
   */
  readonly outcome: (typeof outcomes)[number]
}

/** Written *before* a removal is sent: from here on, an answer may say that the key does not exist. */
export interface RemovingRecord {
  readonly kind: 'removing'
  readonly key: string
  readonly version: number
}

/** A read without an answer that could be judged. */
export interface FailedRecord extends Operation {
  readonly kind: 'failed'
  /** HTTP status; 0 without an answer. */
  readonly status: number
  /** What the answer said, unless it is the 503 of a node that cannot serve. */
  readonly detail: string
}

export interface FaultRecord {
  readonly kind: 'fault'
  readonly fault: string
  readonly phase: 'begins' | 'ends'
  readonly at: number
  /** Whom it concerns, if it is one node. */
  readonly node?: number
  readonly detail: string
}

/** One committed version, as the database itself says after the run. An empty value: removed. */
export interface CommittedRecord extends Observed {
  readonly kind: 'committed'
}

/** A node's answer after the faults have ended, more than the bound after the last write. */
export interface FinalReadRecord extends Observed {
  readonly kind: 'final-read'
  readonly node: number
  readonly marked: boolean
}

/** A node after the faults have ended. */
export interface FinalNodeRecord {
  readonly kind: 'final-node'
  readonly node: number
  readonly ready: boolean
  readonly applied: number
  readonly head: number
  /** Whether it is the process that was alive when the faults ended. */
  readonly sameProcess: boolean
}

/** The database after the run: what became of the events. */
export interface FinalJournalRecord {
  readonly kind: 'final-journal'
  readonly head: number
  readonly unnumbered: number
  /** Positions up to the head that no event has. */
  readonly missing: number
  /** Keys with more, or fewer, events than committed versions. */
  readonly mismatched: number
  /** Deliveries to event handlers that are not done, or were never made. */
  readonly undelivered: number
}

export interface BeginRecord {
  readonly kind: 'begin'
  readonly seed: number
  readonly nodes: number
  readonly boundUs: number
  readonly mode: 'aftercommit' | 'naive'
}

export type HistoryRecord =
  | BeginRecord
  | ReadRecord
  | WriteRecord
  | RemovingRecord
  | FailedRecord
  | FaultRecord
  | CommittedRecord
  | FinalReadRecord
  | FinalNodeRecord
  | FinalJournalRecord

type Line = readonly (string | number)[]

/** Reads are millions: theirs is the one line without names. */
function encode(record: HistoryRecord): string {
  if (record.kind !== 'read') return JSON.stringify(record)
  const { client, node, sentAt, arrivedAt, token, tier, marked, seen } = record
  const line: (string | number)[] = [client, node, sentAt, arrivedAt, Number(token), tier, Number(marked)]
  for (const { key, version, value } of seen) line.push(key, version, value)
  return JSON.stringify(line)
}

function decode(text: string): HistoryRecord {
  const parsed = JSON.parse(text) as HistoryRecord | Line
  if (!isLine(parsed)) return parsed
  const [client, node, sentAt, arrivedAt, token, tier, marked] = parsed
  const seen: Observed[] = []
  for (let at = 7; at < parsed.length; at += 3) {
    seen.push({ key: String(parsed[at]), version: Number(parsed[at + 1]), value: String(parsed[at + 2]) })
  }
  return {
    kind: 'read',
    client: Number(client),
    node: Number(node),
    sentAt: Number(sentAt),
    arrivedAt: Number(arrivedAt),
    token: token === 1,
    tier: tier as Tier,
    marked: marked === 1,
    seen,
  }
}

function isLine(parsed: HistoryRecord | Line): parsed is Line {
  return Array.isArray(parsed)
}

const blockLength = 256 * 1024

/**
 * One record a line, in the order in which the clients learnt of them. Blocks are written synchronously: a
 * stream that falls behind would keep what it has not written in memory.
 */
export class HistoryFile {
  readonly #file: number
  #block = ''
  #records = 0
  #closed = false

  constructor(readonly path: string) {
    this.#file = openSync(path, 'w')
  }

  get records(): number {
    return this.#records
  }

  /** What comes after the end, as when a run is interrupted, is dropped. */
  append(record: HistoryRecord): void {
    if (this.#closed) return
    this.#records++
    this.#block += `${encode(record)}\n`
    if (this.#block.length >= blockLength) this.#flush()
  }

  close(): void {
    this.#flush()
    this.#closed = true
    closeSync(this.#file)
  }

  #flush(): void {
    writeSync(this.#file, this.#block)
    this.#block = ''
  }
}

export async function* readHistory(path: string): AsyncGenerator<HistoryRecord> {
  for await (const line of createInterface({ input: createReadStream(path), crlfDelay: Infinity })) {
    yield decode(line)
  }
}

/** The moment now, rounded so that an operation seems to have begun no later than it did. */
export function beganNow(): number {
  return Math.floor(performance.now() * 1_000)
}

/** A moment in ms, rounded so that an answer seems to have come no earlier than it did. */
export function endedAt(ms: number): number {
  return Math.ceil(ms * 1_000)
}
