import { createDecipheriv, hash, hkdfSync, randomBytes } from 'node:crypto'
import { describe, expect, test } from '@jest/globals'
import fc from 'fast-check'
import { Cipher } from '../../../src/kernel/journal/cipher.js'
import { Mac } from '../../../src/kernel/journal/mac.js'
import { seed } from '../../support/seed.js'

const secret = randomBytes(32)

function sign(mac: Mac, name: string, message: Buffer): string {
  return mac.of(name, message.length, (input, start) => start + message.copy(input, start), 'hex')
}

function signature(name: string, message: string, by = secret): string {
  return sign(new Mac({ secret: by }), name, Buffer.from(message))
}

describe('a signature', () => {
  test('is that of the secret, the name’s length, the name and the message; of any other, releases need another version', () => {
    // Longer ones than the buffer that a signer begins with, and than those that it keeps.
    const lengths = fc.oneof(fc.nat(500), fc.integer({ min: 15_000, max: 40_000 }), fc.constant(1_200_000))
    const mac = new Mac({ secret })
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), lengths, fc.nat(255), (name, length, byte) => {
        const message = Buffer.alloc(length, byte)
        const nameLength = Buffer.alloc(4)
        nameLength.writeUInt32LE(Buffer.byteLength(name))
        const signed = Buffer.concat([secret, nameLength, Buffer.from(name), message])
        expect(sign(mac, name, message)).toBe(hash('blake2b512', signed, 'hex'))
      }),
      { seed },
    )
  })

  test('is another one if any byte of the secret is', () => {
    const own = signature('name', 'message')
    for (let index = 0; index < secret.length; index++) {
      const other = Buffer.from(secret)
      other[index] = (secret[index] as number) ^ 1
      expect(signature('name', 'message', other)).not.toBe(own)
    }
  })

  test('is another one if a byte moves from the name to the message', () => {
    expect(signature('ab', 'c')).not.toBe(signature('a', 'bc'))
  })

  test('is the same whatever was signed before, also with a secret that is too short', () => {
    const short = Buffer.from('short')
    const used = new Mac({ secret: short })
    for (const length of [20_000, 1_200_000, 10]) sign(used, 'another', Buffer.alloc(length, 255))
    for (const length of [10, 20_000, 60_000, 1_200_000]) {
      const message = Buffer.alloc(length, 7)
      expect(sign(used, 'name', message)).toBe(sign(new Mac({ secret: short }), 'name', message))
    }
  })
})

describe('an encrypted message', () => {
  const header = Buffer.from('header')
  const message = Buffer.from('message')

  test('is AES-256-GCM with a key and an IV made of secret, purpose, name and salt; for any other, releases need another version', () => {
    const encrypted = new Cipher({ secret }, 'tests').encrypt('name', header, message)
    const salt = encrypted.subarray(0, 16)
    const root = Buffer.from(hkdfSync('sha256', secret, '', 'aftercommit tests', 32))
    const made = hash(
      'blake2b512',
      Buffer.concat([root, Buffer.from([4, 0, 0, 0]), Buffer.from('name'), salt]),
      'buffer',
    )
    const decipher = createDecipheriv('aes-256-gcm', made.subarray(0, 32), made.subarray(32, 44))
    decipher.setAAD(header)
    decipher.setAuthTag(encrypted.subarray(16, 32))
    expect(Buffer.concat([decipher.update(encrypted.subarray(32)), decipher.final()])).toEqual(message)
  })

  test('is read for its own purpose only, and with the secret that holds at that time', () => {
    const installation = { secret }
    const cipher = new Cipher(installation, 'tests')
    const encrypted = cipher.encrypt('name', header, message)
    expect(cipher.decrypt('name', header, encrypted)).toEqual(message)
    expect(new Cipher({ secret }, 'others').decrypt('name', header, encrypted)).toBeUndefined()
    installation.secret = randomBytes(32)
    expect(cipher.decrypt('name', header, encrypted)).toBeUndefined()
    const later = cipher.encrypt('name', header, message)
    expect(new Cipher(installation, 'tests').decrypt('name', header, later)).toEqual(message)
  })
})
