import { timingSafeEqual } from 'node:crypto'
import type { Installation } from './installation.js'
import type { JournalMessage } from './journal.js'
import { Mac } from './mac.js'

/** "There is news up to `head`, and here is what this numbering call added." Costs time when lost, never truth. */
export interface Hint {
  readonly epoch: string
  readonly head: number
  /** Ascending; may be empty or end before `head`, in which case the receiver asks Postgres. */
  readonly messages: readonly JournalMessage[]
}

/**
 * Messages of one hint in Redis. As one text, a batch of 2,000 held up the event loop of every node that heard it, for 2 ms on a
 * quick machine; and what V8 parses from 100 KB of JSON on goes to where only a full collection comes, with all that it
 * refers to.
 */
const largestPiece = 250

/** The same news as hints that each continue the one before: whoever hears all of them has heard the whole. */
export function inPieces({ epoch, head, messages }: Hint): readonly Hint[] {
  const pieces: Hint[] = []
  for (let from = 0; from === 0 || from < messages.length; from += largestPiece) {
    const piece = messages.slice(from, from + largestPiece)
    const isLast = from + largestPiece >= messages.length
    pieces.push({ epoch, head: isLast ? head : (piece.at(-1)?.position ?? head), messages: piece })
  }
  return pieces
}

/**
 * Messages of one numbering call whose positions follow one another: what they have in common is said, and read, once.
 * A hint of 2,000 has 0.55 of the length that it would have otherwise. Type and payload alternate.
 */
type WireRun = readonly [position: number, numberingId: string, events: readonly unknown[]]
type WireHint = readonly [epoch: string, head: number, runs: readonly WireRun[]]

/** Hexadecimal digits, for 32 bytes. */
const signatureLength = 64

/** A hint longer than this, in UTF-16 units, goes out without its messages. */
const maximumLength = 512 * 1024

/**
 * Signs hints with a secret that only Postgres hands out: a hint is applied without asking the database, so
 * whoever has Redis alone must not be able to make one. The channel is signed with it, or a hint of another
 * installation could be replayed here.
 */
export class HintCodec {
  readonly #mac: Mac

  constructor(private readonly installation: Pick<Installation, 'namespace' | 'secret'>) {
    this.#mac = new Mac(installation)
  }

  get channel(): string {
    return `${this.installation.namespace}:hints`
  }

  encode(hint: Hint): string {
    let body = JSON.stringify([hint.epoch, hint.head, runsOf(hint.messages)])
    if (body.length > maximumLength) body = JSON.stringify([hint.epoch, hint.head, []])
    return this.#sign(body) + body
  }

  /** Undefined for whatever was not signed here; what it says is not looked at before that. */
  decode(text: string): Hint | undefined {
    const body = text.slice(signatureLength)
    const expected = Buffer.from(this.#sign(body), 'latin1')
    const given = Buffer.from(text.slice(0, signatureLength), 'latin1')
    if (given.length !== expected.length || !timingSafeEqual(given, expected)) return undefined
    const parsed: unknown = JSON.parse(body)
    if (!isWireHint(parsed)) return undefined
    const [epoch, head, runs] = parsed
    return { epoch, head, messages: messagesOf(runs) }
  }

  #sign(body: string): string {
    const write = (input: Buffer, start: number): number => start + input.write(body, start)
    return this.#mac.of(this.channel, Buffer.byteLength(body), write, 'hex').slice(0, signatureLength)
  }
}

function runsOf(messages: readonly JournalMessage[]): readonly WireRun[] {
  const runs: (readonly [number, string, unknown[]])[] = []
  let last: JournalMessage | undefined
  for (const message of messages) {
    const { position, numberingId, type, payload } = message
    const continues = last?.numberingId === numberingId && last.position + 1 === position
    if (!continues) runs.push([position, numberingId, []])
    runs.at(-1)?.[2].push(type, payload)
    last = message
  }
  return runs
}

/**
 * A class, and filled by the engine: V8 puts what a literal makes where only a full collection comes, once most of what that
 * literal made had survived one of the young, as in a burst; and all that is heard later would stay with it.
 */
class HeardMessage implements JournalMessage {
  constructor(
    readonly position: number,
    readonly numberingId: string,
    readonly type: string,
    readonly payload: unknown,
  ) {}
}

function messagesOf(runs: readonly WireRun[]): readonly JournalMessage[] {
  return runs.flatMap(([position, numberingId, events]) =>
    Array.from({ length: events.length / 2 }, (_, index) => {
      const type = events[2 * index] as string
      return new HeardMessage(position + index, numberingId, type, events[2 * index + 1])
    }),
  )
}

/** By hand rather than by a schema. With the runs, a hint of 2,000 is read in half the time (0.8 ms for 1.55 ms). */
function isWireHint(value: unknown): value is WireHint {
  if (!Array.isArray(value) || value.length !== 3) return false
  const [epoch, head, runs] = value as unknown[]
  return (
    typeof epoch === 'string' &&
    /^[0-9a-f]{16}$/.test(epoch) &&
    isPosition(head) &&
    Array.isArray(runs) &&
    runs.every(isWireRun)
  )
}

function isWireRun(value: unknown): value is WireRun {
  if (!Array.isArray(value) || value.length !== 3) return false
  const [position, numberingId, events] = value as unknown[]
  return (
    isPosition(position) &&
    typeof numberingId === 'string' &&
    numberingId.length <= 64 &&
    Array.isArray(events) &&
    events.length % 2 === 0 &&
    isPosition(position + events.length / 2) &&
    (events as unknown[]).every((type, index) => index % 2 === 1 || isType(type))
  )
}

function isType(value: unknown): boolean {
  return typeof value === 'string' && value.length <= 256
}

function isPosition(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) > 0
}
