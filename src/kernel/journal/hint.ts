import { timingSafeEqual } from 'node:crypto'
import { Cipher, cipherOverhead } from './cipher.js'
import type { Installation } from './installation.js'
import type { JournalMessage } from './journal.js'
import { Mac } from './mac.js'

/** "There is news up to `head`, and here is what numbering calls have added." Costs time when lost, never truth. */
export interface Hint {
  readonly epoch: string
  readonly head: number
  /** Ascending; may be empty or end before `head`, in which case the receiver asks Postgres. */
  readonly messages: readonly JournalMessage[]
}

/**
 * Messages of one numbering call whose positions follow one another: what they have in common is said, and read, once.
 * Of 2,000 messages it has 0.55 of the length that it would have otherwise. Type and payload alternate.
 */
type WireRun = readonly [position: number, numberingId: string, events: readonly unknown[]]
type WireHint = readonly [epoch: string, head: number, runs: readonly WireRun[]]

/**
 * Changes whenever hints are written or signed differently: two releases side by side then do not hear each other, and find out
 * by their checks, where they would report each other's hints as forged.
 */
const formatVersion = 2

/** Hexadecimal digits, for 32 bytes. */
const signatureLength = 64

/** News longer than this, in UTF-16 units, goes out without its messages: whoever hears of it asks Postgres. */
const maximumLength = 512 * 1_024

/**
 * Messages of one piece, and UTF-16 units unless it is a single message. All 2,000 of a batch at once held up the event loop of
 * every node that heard it for 2 ms; and `JSON.parse` allocates what it makes of 100 KB or more in the old generation, which
 * keeps alive all that this refers to until a full collection.
 */
const largestPiece = 250
const longestPiece = 64 * 1_024

export interface EncodedHint {
  readonly hint: Hint
  readonly text: string
}

/**
 * Signs hints, or encrypts them, with a secret that only Postgres hands out: a hint is applied without asking the database, so
 * whoever has Redis alone must not be able to make one. The channel is signed with it, or a hint of another
 * installation could be replayed here.
 */
export class HintCodec {
  readonly #mac: Mac
  readonly #cipher: Cipher | undefined
  /** Bytes of the longest hint that anybody here sends, as UTF-8; what is longer need not be looked at. */
  readonly longestBytes: number

  /** @param options.encrypted whether hints are encrypted; those that are not are not heard then, nor the other way round */
  constructor(
    private readonly installation: Pick<Installation, 'namespace' | 'secret'>,
    { encrypted = false }: { readonly encrypted?: boolean | undefined } = {},
  ) {
    this.#mac = new Mac(installation)
    this.#cipher = encrypted ? new Cipher(installation, 'hints in Redis') : undefined
    this.longestBytes = encrypted
      ? Math.ceil(((cipherOverhead + 3 * maximumLength) * 4) / 3) + 4
      : signatureLength + 3 * maximumLength
  }

  get channel(): string {
    return `${this.installation.namespace}:hints-v${formatVersion}${this.#cipher ? '-encrypted' : ''}`
  }

  /** In pieces, which are hints that each continue the one before: whoever hears all of them has heard the whole. */
  encode(hint: Hint): readonly EncodedHint[] {
    const pieces = piecesOf(hint)
    const length = pieces.reduce((sum, { body }) => sum + body.length, 0)
    const sent = length <= maximumLength ? pieces : piecesOf({ ...hint, messages: [] })
    return sent.map(({ piece, body }) => ({
      hint: piece,
      text: this.#cipher ? this.#encrypted(this.#cipher, body) : this.#sign(body) + body,
    }))
  }

  /** Undefined for whatever was not signed, or encrypted, here; what it says is not looked at before that. */
  decode(text: string): Hint | undefined {
    const body = this.#cipher ? this.#decrypted(this.#cipher, text) : this.#verified(text)
    if (body === undefined) return undefined
    const parsed: unknown = JSON.parse(body)
    if (!isWireHint(parsed)) return undefined
    const [epoch, head, runs] = parsed
    return { epoch, head, messages: messagesOf(runs) }
  }

  #verified(text: string): string | undefined {
    if (text.length > signatureLength + maximumLength) return undefined
    const body = text.slice(signatureLength)
    const expected = Buffer.from(this.#sign(body), 'latin1')
    const given = Buffer.from(text.slice(0, signatureLength), 'latin1')
    return given.length === expected.length && timingSafeEqual(given, expected) ? body : undefined
  }

  #sign(body: string): string {
    const write = (input: Buffer, start: number): number => start + input.write(body, start)
    return this.#mac.of(this.channel, Buffer.byteLength(body), write, 'hex').slice(0, signatureLength)
  }

  /** As text, which is what hints are heard as. */
  #encrypted(cipher: Cipher, body: string): string {
    return cipher.encrypt(this.channel, noHeader, Buffer.from(body)).toString('base64')
  }

  #decrypted(cipher: Cipher, text: string): string | undefined {
    if (text.length > this.longestBytes) return undefined
    return cipher.decrypt(this.channel, noHeader, Buffer.from(text, 'base64'))?.toString()
  }
}

const noHeader = Buffer.alloc(0)

interface Piece {
  readonly piece: Hint
  readonly body: string
}

function piecesOf(hint: Hint): readonly Piece[] {
  const { epoch, head, messages } = hint
  if (messages.length <= largestPiece) {
    const body = JSON.stringify([epoch, head, runsOf(messages)])
    if (messages.length <= 1 || body.length <= longestPiece) return [{ piece: hint, body }]
  }
  const first = messages.slice(0, messages.length / 2)
  const rest = messages.slice(first.length)
  // Up to where it goes, or whoever hears it would take it for one whose messages were too long.
  const upTo = first.at(-1)?.position ?? head
  return [...piecesOf({ epoch, head: upTo, messages: first }), ...piecesOf({ epoch, head, messages: rest })]
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
 * A class rather than an object literal: V8 allocates what a literal's place makes in the old generation once most of it has
 * survived a collection of the young one, as in a burst, and then keeps alive all that is heard later.
 */
class HeardMessage implements JournalMessage {
  constructor(
    readonly position: number,
    readonly numberingId: string,
    readonly type: string,
    readonly payload: unknown,
  ) {}
}

/** What is heard alone is of one run, nearly always. */
function messagesOf(runs: readonly WireRun[]): readonly JournalMessage[] {
  const [first] = runs
  return runs.length === 1 && first ? messagesOfRun(first) : runs.flatMap(messagesOfRun)
}

/**
 * In the very array that was parsed, as the messages take half of its places: one made here would have the fate of a literal,
 * and one made by `Array.from` takes 0.01 ms more on a processor that was asleep, a fifth of what reading a hint takes then.
 */
function messagesOfRun([position, numberingId, events]: WireRun): readonly JournalMessage[] {
  const messages = events as unknown[]
  const count = events.length / 2
  for (let index = 0; index < count; index++) {
    const type = messages[2 * index] as string
    messages[index] = new HeardMessage(position + index, numberingId, type, messages[2 * index + 1])
  }
  messages.length = count
  return messages as JournalMessage[]
}

/** By hand rather than by a schema. With the runs, 2,000 messages are read in half the time (0.8 ms for 1.55 ms). */
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
