import { createHmac, timingSafeEqual } from 'node:crypto'
import type { Installation } from './installation.js'
import type { JournalMessage } from './journal.js'

/** "There is news up to `head`, and here is what this numbering call added." Costs time when lost, never truth. */
export interface Hint {
  readonly epoch: string
  readonly head: number
  /** Ascending; may be empty or end before `head`, in which case the receiver asks Postgres. */
  readonly messages: readonly JournalMessage[]
}

type WireMessage = [position: number, numberingId: string, type: string, payload: unknown]

const epochForm = /^[0-9a-f]{16}$/

const signatureLength = 64

/** A signed hint longer than this, in UTF-16 units, goes out without its messages. */
const maximumLength = 512 * 1024

/**
 * Signs hints with a secret that only Postgres hands out: a hint is applied without asking the database, so
 * whoever has Redis alone must not be able to make one. The channel is signed with it, or a hint of another
 * installation could be replayed here.
 */
export class HintCodec {
  constructor(private readonly installation: Pick<Installation, 'namespace' | 'secret'>) {}

  get channel(): string {
    return `${this.installation.namespace}:hints`
  }

  encode(hint: Hint): string {
    const messages = hint.messages.map((m) => [m.position, m.numberingId, m.type, m.payload])
    let body = JSON.stringify([hint.epoch, hint.head, messages])
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
    if (!Array.isArray(parsed) || parsed.length !== 3) return undefined
    const [epoch, head, messages] = parsed as [unknown, unknown, unknown]
    if (typeof epoch !== 'string' || !epochForm.test(epoch) || !isPosition(head)) return undefined
    if (!Array.isArray(messages) || !messages.every(isWireMessage)) return undefined
    return {
      epoch,
      head,
      messages: messages.map(([position, numberingId, type, payload]) => ({
        position,
        numberingId,
        type,
        payload,
      })),
    }
  }

  #sign(body: string): string {
    return createHmac('sha256', this.installation.secret)
      .update(this.channel)
      .update('\n')
      .update(body)
      .digest('hex')
  }
}

function isPosition(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) > 0
}

function isWireMessage(value: unknown): value is WireMessage {
  if (!Array.isArray(value) || value.length !== 4) return false
  const [position, numberingId, type] = value as unknown[]
  return isPosition(position) && isText(numberingId, 64) && isText(type, 256)
}

function isText(value: unknown, maximumLength: number): value is string {
  return typeof value === 'string' && value.length <= maximumLength
}
