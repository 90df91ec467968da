import { describe, expect, test } from '@jest/globals'
import fc from 'fast-check'
import { LastInvalidations } from '../../../src/kernel/journal/last-invalidations.js'
import { seed } from '../../support/seed.js'

const names = fc.constantFrom('a', 'b', 'c', 'user:1', 'user:2', '')
const invalidation = fc.record({ name: names, position: fc.nat(50) })

describe('last invalidations', () => {
  test('no order and no repetition of invalidations ever makes anything fresh again', () => {
    fc.assert(
      fc.property(fc.array(invalidation), fc.nat(50), (invalidations, floor) => {
        const table = new LastInvalidations(256)
        const slots = ['a', 'b', 'c', 'user:1', 'user:2', ''].map((name) => table.slotOf(name))
        let before = slots.map((slot) => table.lastOf([slot]))
        for (const [index, { name, position }] of invalidations.entries()) {
          if (index === 3) table.raiseFloor(floor)
          table.invalidate(name, position)
          const after = slots.map((slot) => table.lastOf([slot]))
          expect(after.every((position, i) => position >= before[i]!)).toBe(true)
          before = after
        }
      }),
      { seed },
    )
  })

  test('a name’s last invalidation is at least the newest that was told, in any order', () => {
    fc.assert(
      fc.property(fc.array(invalidation, { minLength: 1 }), fc.integer(), (invalidations, hashSeed) => {
        const table = new LastInvalidations(256, hashSeed)
        for (const { name, position } of invalidations) table.invalidate(name, position)
        for (const { name, position } of invalidations) {
          expect(table.lastOf([table.slotOf(name)])).toBeGreaterThanOrEqual(position)
        }
      }),
      { seed },
    )
  })

  test('names that share a slot cost a reload, never a stale answer', () => {
    const table = new LastInvalidations(256)
    const target = table.slotOf('victim')
    let other = 0
    while (table.slotOf(`other:${other}`) !== target) other++
    table.invalidate('victim', 9)
    table.invalidate(`other:${other}`, 4)
    expect(table.lastOf([target])).toBe(9)
    table.invalidate(`other:${other}`, 12)
    expect(table.lastOf([target])).toBe(12)
  })

  test('the floor makes everything older stale, whatever its name, and never sinks', () => {
    const table = new LastInvalidations(256)
    table.raiseFloor(7)
    table.raiseFloor(3)
    expect(table.floor).toBe(7)
    expect(table.lastOf([])).toBe(7)
    expect(table.lastOf([table.slotOf('never mentioned')])).toBe(7)
  })

  test('the newest of several names decides', () => {
    const table = new LastInvalidations(65_536, 1)
    table.invalidate('a', 3)
    table.invalidate('b', 8)
    expect(table.lastOf(['a', 'b', 'c'].map((name) => table.slotOf(name)))).toBe(8)
  })

  test('another epoch starts from its floor alone', () => {
    const table = new LastInvalidations(256)
    table.invalidate('a', 100)
    table.raiseFloor(90)
    table.reset(2)
    expect(table.lastOf([table.slotOf('a')])).toBe(2)
  })

  test('positions beyond 32 bits are kept exactly', () => {
    const table = new LastInvalidations(256)
    table.invalidate('a', Number.MAX_SAFE_INTEGER)
    expect(table.lastOf([table.slotOf('a')])).toBe(Number.MAX_SAFE_INTEGER)
  })

  test('every slot is inside the table, and names spread over it', () => {
    fc.assert(
      fc.property(fc.string(), fc.integer(), (name, hashSeed) => {
        const slot = new LastInvalidations(256, hashSeed).slotOf(name)
        expect(slot).toBeGreaterThanOrEqual(0)
        expect(slot).toBeLessThan(256)
      }),
      { seed },
    )
    const table = new LastInvalidations(1_024, 1)
    const used = new Set(Array.from({ length: 4_096 }, (_, index) => table.slotOf(`user:${index}`)))
    expect(used.size).toBeGreaterThan(900)
  })

  test('two processes hash differently, so that nobody can choose names that collide', () => {
    const positions = (hashSeed: number) => {
      const table = new LastInvalidations(65_536, hashSeed)
      return Array.from({ length: 20 }, (_, index) => table.slotOf(`user:${index}`))
    }
    expect(positions(1)).not.toEqual(positions(2))
  })

  test.each([0, 100, 255, 300, 2 ** 27, 1.5, Number.NaN])('a table of %p slots is refused', (slots) => {
    expect(() => new LastInvalidations(slots)).toThrow(RangeError)
  })
})
