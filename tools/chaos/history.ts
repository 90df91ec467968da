import { closeSync, createReadStream, openSync, writeSync } from 'node:fs'
import { createInterface } from 'node:readline'

/** Where an answer came from, according to its `Cache-Status`. */
export const tiers = ['l1', 'l2', 'miss', 'bypass'] as const
export type Tier = (typeof tiers)[number]

/** What an answer showed of one key. Version 0 means that the key does not exist. */
export interface Observed {
  readonly key: string
  readonly version: number
  readonly value: string
}

interface Operation {
  /** The operations of one client follow one another, except the reads of one burst. */
  readonly client: number
  readonly node: number
  /** Whole µs of the clients' monotonic clock: before the request was sent, and once its answer had arrived. */
  readonly sentAt: number
  readonly arrivedAt: number
  /** Whether the client sent its newest token. */
  readonly token: boolean
}

export interface ReadRecord extends Operation {
  readonly kind: 'read'
  readonly tier: Tier
  /** Whether the answer is marked as possibly stale. */
  readonly marked: boolean
  readonly seen: readonly Observed[]
}

export const outcomes = ['committed', 'refused', 'unknown'] as const

export interface WriteRecord extends Operation, Observed {
  readonly kind: 'write'
  /**
   * `refused` means that the service said that nothing was written. `unknown` means an error or no answer: the write may be
   * committed. The version is 0 unless the outcome is `committed`.
   */
  readonly outcome: (typeof outcomes)[number]
}

/** Written *before* a removal is sent. After it, an answer may say that the key does not exist. */
export interface RemovingRecord {
  readonly kind: 'removing'
  readonly key: string
  readonly version: number
}

/** A read whose answer cannot be judged, or that got no answer. */
export interface FailedRecord extends Operation {
  readonly kind: 'failed'
  /** HTTP status; 0 without an answer. */
  readonly status: number
  /** The start of the answer; empty for a 503. */
  readonly detail: string
}

export interface FaultRecord {
  readonly kind: 'fault'
  readonly fault: string
  readonly phase: 'begins' | 'ends'
  readonly at: number
  /** The number of the node, if the fault concerns one node. */
  readonly node?: number
  readonly detail: string
}

/** One committed version, read from the database after the run. An empty value means that it was removed. */
export interface CommittedRecord extends Observed {
  readonly kind: 'committed'
}

/** An answer of a node after the faults have ended and the bound has passed since the last write. */
export interface FinalReadRecord extends Observed {
  readonly kind: 'final-read'
  readonly node: number
  readonly marked: boolean
}

/** The state of a node after the faults have ended. */
export interface FinalNodeRecord {
  readonly kind: 'final-node'
  readonly node: number
  readonly ready: boolean
  readonly applied: number
  readonly head: number
  /** Whether it is the process that was alive when the faults ended. */
  readonly sameProcess: boolean
}

/** The state of the events in the database after the run. */
export interface FinalJournalRecord {
  readonly kind: 'final-journal'
  readonly head: number
  readonly unnumbered: number
  /** Positions up to the head without an event. */
  readonly missing: number
  /** Keys whose number of events differs from that of committed versions. */
  readonly mismatched: number
  /** Events that their handler has not handled. */
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

/** There are millions of reads, so their lines are arrays without names. */
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
 * A file with one record a line, in the order in which the clients learnt of them. Blocks are written synchronously, because
 * a stream that falls behind would keep the rest in memory.
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

  /** Drops records that come after `close`, for instance when a run is interrupted. */
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

/** The present moment, rounded down, so that an operation never seems to start later than it did. */
export function beganNow(): number {
  return Math.floor(performance.now() * 1_000)
}

/** A moment in ms, rounded up, so that an answer never seems to arrive earlier than it did. */
export function endedAt(ms: number): number {
  return Math.ceil(ms * 1_000)
}
