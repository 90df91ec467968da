import { describe, expect, test } from '@jest/globals'
import fc from 'fast-check'
import { type Hint, HintCodec } from '../../../src/kernel/journal/hint.js'
import { Mac } from '../../../src/kernel/journal/mac.js'
import { seed } from '../../support/seed.js'

const secret = Buffer.from('a secret that only Postgres hands out')
const codec = new HintCodec({ namespace: 'here', secret })
const signatureLength = 64

const hint: Hint = {
  epoch: '00000000000000e1',
  head: 7,
  messages: [{ position: 7, numberingId: 'call-1', type: 'users.user-renamed', payload: { userId: 'u' } }],
}

/** Of a hint that goes out in one piece. */
function textOf(sent: Hint, by = codec): string {
  const [only, ...others] = by.encode(sent)
  if (!only || others.length > 0) throw new Error('not one piece')
  return only.text
}

const encoded = textOf(hint)

/** What somebody makes who has the secret, but not our version of the format. */
function signed(body: string): string {
  const write = (input: Buffer, start: number) => start + input.write(body, start)
  return new Mac({ secret }).of('here:hints-v2', body.length, write, 'hex').slice(0, signatureLength) + body
}

function renamed(count: number, userId: string): Hint['messages'] {
  return Array.from({ length: count }, (_, index) => ({
    ...hint.messages[0]!,
    position: 7 + index,
    payload: { userId },
  }))
}

describe('hints', () => {
  test('arrive as they were sent, whatever JSON payload they carry', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (payload) => {
        const sent = { ...hint, messages: [{ ...hint.messages[0]!, payload }] }
        expect(codec.decode(textOf(sent))).toEqual(JSON.parse(JSON.stringify(sent)))
      }),
      { seed },
    )
  })

  test('of several numbering calls, with places left out, arrive as they were sent', () => {
    const places = fc.array(fc.tuple(fc.nat(2), fc.constantFrom('call-1', 'call-2')))
    fc.assert(
      fc.property(places, (steps) => {
        let position = 0
        const messages = steps.map(([skipped, numberingId], payload) => {
          position += 1 + skipped
          return { position, numberingId, type: `users.event-${payload % 3}`, payload }
        })
        const sent = { ...hint, head: position + 1, messages }
        expect(codec.decode(textOf(sent))).toEqual(sent)
      }),
      { seed },
    )
  })

  test('of 250 messages go out in one piece', () => {
    const sent = { ...hint, head: 256, messages: renamed(250, 'u') }
    expect(codec.decode(textOf(sent))).toEqual(sent)
  })

  test('of a large batch go out in pieces of at most 250, each of which continues the one before', () => {
    fc.assert(
      fc.property(fc.integer({ min: 251, max: 2_000 }), fc.nat(2), (count, beyond) => {
        const sent = { ...hint, head: 6 + count + beyond, messages: renamed(count, 'u') }
        const pieces = codec.encode(sent).map(({ text }) => codec.decode(text)!)
        expect(pieces.flatMap(({ messages }) => messages)).toEqual(sent.messages)
        expect(pieces.at(-1)?.head).toBe(sent.head)
        expect(pieces.length).toBeLessThanOrEqual(Math.ceil(count / 125))
        for (const { head, messages } of pieces) {
          expect(messages.length).toBeLessThanOrEqual(250)
          // Or whoever hears it would take it for one whose messages were too long, and ask Postgres.
          if (head !== sent.head) expect(messages.at(-1)?.position).toBe(head)
        }
      }),
      { seed, numRuns: 20 },
    )
  })

  test('with long payloads go out in pieces of at most 64 KiB, or of one message', () => {
    const sent = { ...hint, head: 106, messages: renamed(100, 'u'.repeat(4_000)) }
    const pieces = codec.encode(sent)
    for (const { text } of pieces) expect(text.length).toBeLessThanOrEqual(64 * 1_024 + signatureLength)
    expect(pieces.flatMap(({ text }) => codec.decode(text)!.messages)).toEqual(sent.messages)
    const long = { ...hint, messages: renamed(1, 'u'.repeat(100_000)) }
    expect(codec.decode(textOf(long))).toEqual(long)
  })

  test('with one character changed anywhere are dropped', () => {
    for (let index = 0; index < encoded.length; index++) {
      const forged = `${encoded.slice(0, index)}${encoded[index] === '1' ? '2' : '1'}${encoded.slice(index + 1)}`
      expect(codec.decode(forged)).toBeUndefined()
    }
  })

  test('that are truncated anywhere are dropped', () => {
    for (let length = 0; length < encoded.length; length++) {
      expect(codec.decode(encoded.slice(0, length))).toBeUndefined()
    }
  })

  test('a true signature does not carry over to another body', () => {
    const other = textOf({ ...hint, head: 8 })
    expect(codec.decode(encoded.slice(0, signatureLength) + other.slice(signatureLength))).toBeUndefined()
    expect(codec.decode(`${encoded} `)).toBeUndefined()
  })

  test('of another installation are dropped, even with the same secret', () => {
    expect(new HintCodec({ namespace: 'there', secret }).decode(encoded)).toBeUndefined()
  })

  test('signed with another secret are dropped', () => {
    const stranger = new HintCodec({ namespace: 'here', secret: Buffer.from('guessed') })
    expect(codec.decode(textOf(hint, stranger))).toBeUndefined()
  })

  test('no garbage is taken for a hint', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 200 }), (text) => {
        expect(codec.decode(text)).toBeUndefined()
      }),
      { seed, numRuns: 1_000 },
    )
  })

  test.each([
    ['no position', '["00000000000000e1",0,[]]'],
    ['a fraction', '["00000000000000e1",1.5,[]]'],
    ['a position beyond what is exact', '["00000000000000e1",9007199254740992,[]]'],
    ['an epoch of another kind', '["E1",1,[]]'],
    ['messages without a position', '["00000000000000e1",1,[["1","id",["type",{}]]]]'],
    ['messages that nobody numbered', '["00000000000000e1",1,[[1,null,["type",{}]]]]'],
    ['a message without a payload', '["00000000000000e1",2,[[1,"id",["type",{},"type"]]]]'],
    ['a message without a type', '["00000000000000e1",1,[[1,"id",[{},"type"]]]]'],
    ['another shape', '{"head":1}'],
  ])('signed by us, but with %s, are dropped', (_what, body) => {
    expect(codec.decode(signed(body))).toBeUndefined()
  })

  test('signed by us, but longer than any that is sent, are dropped', () => {
    const body = (length: number) =>
      JSON.stringify(['00000000000000e1', 7, [[7, 'id', ['type', 'x'.repeat(length)]]]])
    expect(codec.decode(signed(body(1_000)))).toBeDefined()
    expect(codec.decode(signed(body(512 * 1_024)))).toBeUndefined()
  })

  test('that are huge go out without their messages, so that the receiver asks Postgres', () => {
    const huge = { ...hint, messages: [{ ...hint.messages[0]!, payload: 'x'.repeat(1_000_000) }] }
    const sent = textOf(huge)
    expect(sent.length).toBeLessThan(1_000)
    expect(codec.decode(sent)).toEqual({ ...hint, messages: [] })
    const together = { ...hint, head: 1_006, messages: renamed(1_000, 'u'.repeat(600)) }
    expect(codec.decode(textOf(together))).toEqual({ ...together, messages: [] })
  })
})

describe('encrypted hints', () => {
  const installation = { namespace: 'here', secret }
  const encrypting = new HintCodec(installation, { encrypted: true })

  test('arrive as they were sent, and leave nothing of the events to read', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (payload) => {
        const sent = { ...hint, messages: [{ ...hint.messages[0]!, payload }] }
        const text = textOf(sent, encrypting)
        expect(Buffer.from(text, 'base64').includes('users.user-renamed')).toBe(false)
        expect(encrypting.decode(text)).toEqual(JSON.parse(JSON.stringify(sent)))
      }),
      { seed },
    )
  })

  test('with one byte changed anywhere, or cut off, are dropped', () => {
    const bytes = Buffer.from(textOf(hint, encrypting), 'base64')
    for (let index = 0; index < bytes.length; index++) {
      const changed = Buffer.from(bytes)
      changed[index] = bytes[index]! ^ 1
      expect(encrypting.decode(changed.toString('base64'))).toBeUndefined()
      expect(encrypting.decode(bytes.subarray(0, index).toString('base64'))).toBeUndefined()
    }
  })

  test('and those that are only signed are not heard by each other’s nodes', () => {
    expect(encrypting.channel).not.toBe(codec.channel)
    expect(encrypting.decode(encoded)).toBeUndefined()
    expect(codec.decode(textOf(hint, encrypting))).toBeUndefined()
  })

  test('of another installation, or another secret, are dropped', () => {
    for (const other of [
      { ...installation, namespace: 'there' },
      { ...installation, secret: Buffer.from('guessed') },
    ])
      expect(encrypting.decode(textOf(hint, new HintCodec(other, { encrypted: true })))).toBeUndefined()
  })

  test('are not longer than what is looked at, and what is longer is not', () => {
    const long = { ...hint, messages: [{ ...hint.messages[0]!, payload: '\u{10ffff}'.repeat(250_000) }] }
    for (const by of [codec, encrypting]) {
      const text = textOf(long, by)
      expect(text.length).toBeGreaterThan(500_000)
      expect(Buffer.byteLength(text)).toBeLessThanOrEqual(by.longestBytes)
      expect(by.decode(text)).toEqual(long)
      expect(by.decode('x'.repeat(by.longestBytes + 1))).toBeUndefined()
    }
  })
})
