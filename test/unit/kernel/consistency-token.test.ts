import { describe, expect, test } from '@jest/globals'
import fc from 'fast-check'
import {
  type ConsistencyToken,
  formatToken,
  InvalidTokenError,
  parseToken,
  strongest,
} from '../../../src/kernel/journal/consistency-token.js'
import { seed } from '../../support/seed.js'

const epoch = fc.stringMatching(/^[0-9a-f]{16}$/)
const token: fc.Arbitrary<ConsistencyToken> = fc.record({
  epoch,
  position: fc.oneof(fc.maxSafeNat(), fc.constant('pending' as const)),
})

const one = '00000000000000e1'
const two = '00000000000000e2'

describe('consistency tokens', () => {
  test('come back as they were sent', () => {
    fc.assert(
      fc.property(token, (sent) => expect(parseToken(formatToken(sent))).toEqual(sent)),
      { seed },
    )
  })

  test('nothing but a token is read as one', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.string({ unit: 'binary' }), token.map(formatToken)), (text) => {
        try {
          expect(formatToken(parseToken(text))).toBe(text)
        } catch (error) {
          expect(error).toBeInstanceOf(InvalidTokenError)
        }
      }),
      { seed, numRuns: 1_000 },
    )
  })

  test.each([
    '',
    one,
    `${one}.`,
    `${one}.-1`,
    `${one}.01`,
    `${one}.1.5`,
    `${one}.1e3`,
    `${one}.Pending`,
    `${one}.9007199254740992`,
    `${one}.99999999999999999999`,
    `${one} .1`,
    `${one}.1\n`,
    `\n${one}.1`,
    `${one.toUpperCase()}.1`,
    `${one}0.1`,
  ])('%j is refused', (text) => {
    expect(() => parseToken(text)).toThrow(InvalidTokenError)
  })

  test('the largest position is read exactly', () => {
    expect(parseToken(`${one}.${Number.MAX_SAFE_INTEGER}`).position).toBe(Number.MAX_SAFE_INTEGER)
  })

  test('of two positions the later one promises both', () => {
    const low = { epoch: one, position: 3 }
    const high = { epoch: one, position: 4 }
    expect(strongest(low, high)).toEqual(high)
    expect(strongest(high, low)).toEqual(high)
    expect(strongest(undefined, low)).toEqual(low)
  })

  test('pending is never replaced by a position, and two epochs do not compare', () => {
    const pending = { epoch: one, position: 'pending' as const }
    expect(strongest(pending, { epoch: one, position: 9 }).position).toBe('pending')
    expect(strongest({ epoch: one, position: 9 }, pending).position).toBe('pending')
    expect(strongest({ epoch: one, position: 9 }, { epoch: two, position: 1 }).position).toBe('pending')
    expect(strongest({ epoch: two, position: 1 }, { epoch: one, position: 9 }).position).toBe('pending')
  })

  test('is never weaker than either of its parts', () => {
    fc.assert(
      fc.property(token, token, fc.boolean(), (left, right, sameEpoch) => {
        const other = sameEpoch ? { ...right, epoch: left.epoch } : right
        const both = strongest(left, other)
        if (both.position === 'pending') return
        expect([left.epoch, other.epoch]).toEqual([both.epoch, both.epoch])
        expect(both.position).toBeGreaterThanOrEqual(left.position as number)
        expect(both.position).toBeGreaterThanOrEqual(other.position as number)
      }),
      { seed },
    )
  })
})
