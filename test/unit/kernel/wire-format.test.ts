import { randomBytes } from 'node:crypto'
import { describe, expect, test } from '@jest/globals'
import fc from 'fast-check'
import type { SharedEntry } from '../../../src/kernel/cache/shared/shared-tier.js'
import {
  PayloadTooLargeError,
  WireFormat,
  type WireFormatOptions,
} from '../../../src/kernel/cache/shared/wire-format.js'
import type { Serializer } from '../../../src/kernel/cache/values/serializer.js'
import { StructuredSerializer } from '../../../src/kernel/cache/values/structured-serializer.js'
import { seed } from '../../support/seed.js'

const secret = randomBytes(32)
const name = 'a key in Redis'

function format(options: Partial<WireFormatOptions> = {}, key = secret): WireFormat {
  return new WireFormat(
    { secret: key },
    {
      serializer: new StructuredSerializer(),
      maximumPayloadBytes: 1_000_000,
      compressAboveBytes: Number.POSITIVE_INFINITY,
      ...options,
    },
  )
}

function entryOf(value: unknown, others: Partial<SharedEntry> = {}): SharedEntry {
  return {
    value,
    position: 7,
    names: [],
    loadedAt: 1_000,
    freshUntil: 2_000,
    usableUntil: 3_000,
    l1TtlMs: 500,
    ...others,
  }
}

/** A serializer such as a service may bring along. */
const shouting: Serializer = {
  format: 200,
  serialize: (value) => Buffer.from(String(value).toUpperCase()),
  deserialize: (bytes) => Buffer.from(bytes).toString(),
}

describe.each([
  ['signed', {}],
  ['encrypted', { encrypted: true }],
])('an entry on its way through Redis, %s', (_, options: Partial<WireFormatOptions>) => {
  test('comes back with all that is known of it', async () => {
    const entry = entryOf(
      { name: 'Ada', tags: [] },
      {
        names: ['t:users', 'k:GetUser:1'],
        etag: '"1"',
        lastModified: 'Tue, 24 Nov 2026 08:00:00 GMT',
        lasting: { clone: true, skipL1Write: true, sizeBytes: 12, eagerRefreshThreshold: 0.5 },
      },
    )
    expect(await format(options).decode(name, await format(options).encode(name, entry))).toEqual(entry)
  })

  test('comes back as it was, whatever JSON it is and however long its names', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.jsonValue(),
        fc.array(fc.string({ unit: 'binary' })),
        fc.nat(),
        async (value, names, position) => {
          const entry = entryOf(value, { names, position })
          const found = await format(options).decode(name, await format(options).encode(name, entry))
          expect({ ...found, value: JSON.stringify(found?.value) }).toEqual({
            ...entry,
            value: JSON.stringify(value),
          })
        },
      ),
      { seed },
    )
  })

  test('is nothing, and no error, once any byte of it has been changed, lost or added', async () => {
    const bytes = Buffer.from(await format(options).encode(name, entryOf({ id: 1 }, { names: ['t:a'] })))
    const changed = fc.oneof(
      fc.tuple(fc.nat(bytes.length - 1), fc.integer({ min: 1, max: 255 })).map(([at, by]) => {
        const copy = Buffer.from(bytes)
        copy[at] = (copy[at] ?? 0) ^ by
        return copy
      }),
      fc.nat(bytes.length - 1).map((length) => bytes.subarray(0, length)),
      fc.uint8Array({ minLength: 1 }).map((more) => Buffer.concat([bytes, more])),
      fc.uint8Array().map((any) => Buffer.from(any)),
    )
    await fc.assert(
      fc.asyncProperty(changed, async (other) => {
        expect(await format(options).decode(name, other)).toBeUndefined()
      }),
      { seed, numRuns: 500 },
    )
    expect(await format(options).decode('another key', bytes)).toBeUndefined()
    expect(await format(options, randomBytes(32)).decode(name, bytes)).toBeUndefined()
  })
})

describe('encryption', () => {
  const encrypting = format({ encrypted: true })
  const secretive = entryOf({ name: 'Ada Lovelace' }, { names: ['t:nobility'] })
  const bytesOf = (by: WireFormat) => by.encode(name, secretive) as Buffer

  test('leaves value, names and times unreadable, and makes every entry different', () => {
    expect(bytesOf(format()).includes('Lovelace')).toBe(true)
    const bytes = bytesOf(encrypting)
    for (const word of ['Ada', 'Lovelace', 'name', 'nobility']) expect(bytes.includes(word)).toBe(false)
    expect(bytes.includes(bytesOf(format()).subarray(35, 75))).toBe(false)
    expect(bytes.subarray(3)).not.toEqual(bytesOf(encrypting).subarray(3))
  })

  test('ignores entries that are only signed, and a node without encryption ignores encrypted ones', () => {
    const [clear, encrypted] = [bytesOf(format()), bytesOf(encrypting)]
    expect(encrypting.decode(name, clear)).toBeUndefined()
    expect(format().decode(name, encrypted)).toBeUndefined()
    // The version byte of the other kind does not help.
    const [asEncrypted, asClear] = [Buffer.from(clear), Buffer.from(encrypted)]
    asEncrypted[0] = encrypted[0]!
    asClear[0] = clear[0]!
    expect(encrypting.decode(name, asEncrypted)).toBeUndefined()
    expect(format().decode(name, asClear)).toBeUndefined()
  })

  test('works together with compression', async () => {
    const both = format({ encrypted: true, compressAboveBytes: 100 })
    const long = entryOf('ada '.repeat(1_000))
    const bytes = await both.encode(name, long)
    expect(bytes.length).toBeLessThan(500)
    expect(await both.decode(name, bytes)).toEqual(long)
  })
})

describe('a serializer of the service’s own', () => {
  test('writes and reads the values', async () => {
    const own = format({ serializer: shouting })
    expect(await own.decode(name, await own.encode(name, entryOf('ada')))).toEqual(entryOf('ADA'))
  })

  test('never reads what another has written, nor the other way round', async () => {
    const own = format({ serializer: shouting })
    expect(await format().decode(name, await own.encode(name, entryOf('ada')))).toBeUndefined()
    expect(await own.decode(name, await format().encode(name, entryOf('ada')))).toBeUndefined()
  })
})

describe('compression', () => {
  const compressing = format({ compressAboveBytes: 100 })
  const long = entryOf('ada '.repeat(1_000))

  test('makes a large value small, and is undone by every reader, whatever its own setting', async () => {
    const bytes = await compressing.encode(name, long)
    expect(bytes.length).toBeLessThan(500)
    expect(await compressing.decode(name, bytes)).toEqual(long)
    expect(await format().decode(name, bytes)).toEqual(long)
  })

  test('leaves a small value alone, and one that it would make no smaller', async () => {
    const small = entryOf('ada')
    expect(await compressing.encode(name, small)).toEqual(await format().encode(name, small))
    const noise = entryOf(randomBytes(2_000))
    const bytes = await compressing.encode(name, noise)
    expect(bytes.length).toBe((await format().encode(name, noise)).length)
    expect(await compressing.decode(name, bytes)).toEqual(noise)
  })

  test('lets nothing through that is larger than a value may be', async () => {
    const strict = format({ compressAboveBytes: 100, maximumPayloadBytes: 1_000 })
    expect(() => strict.encode(name, long)).toThrow(PayloadTooLargeError)
    // What a node with a larger limit has written must not fill this one's memory.
    expect(await strict.decode(name, await compressing.encode(name, long))).toBeUndefined()
  })
})
