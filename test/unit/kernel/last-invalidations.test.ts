import { describe, expect, test } from '@jest/globals'
import fc from 'fast-check'
import { LastInvalidations } from '../../../src/kernel/journal/last-invalidations.js'
import { seed } from '../../support/seed.js'

const names = fc.constantFrom('a', 'b', 'c', 'user:1', 'user:2', '')
const invalidation = fc.record({ name: names, position: fc.nat(50) })
const kind = fc.constantFrom('invalidate', 'expire', 'remove')
const floorKind = fc.constantFrom('raiseFloor', 'raiseExpiryFloor', 'raiseRemovalFloor')

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

describe('the three kinds of invalidation', () => {
  test('an expired value is not superseded, a superseded one is not removed, a removed one is both', () => {
    const table = new LastInvalidations(65_536, 1)
    table.expire('expired', 5)
    table.invalidate('superseded', 6)
    table.remove('removed', 7)
    const lasts = (name: string) => {
      const slots = [table.slotOf(name)]
      return [table.lastOf(slots), table.lastSupersededOf(slots), table.lastRemovedOf(slots)]
    }
    expect(lasts('expired')).toEqual([5, 0, 0])
    expect(lasts('superseded')).toEqual([6, 6, 0])
    expect(lasts('removed')).toEqual([7, 7, 7])
    expect(lasts('untouched')).toEqual([0, 0, 0])
  })

  test('each has a floor of its own; that of removals supersedes as well', () => {
    const lasts = (raise: (table: LastInvalidations) => void) => {
      const table = new LastInvalidations(256)
      raise(table)
      const slots = [table.slotOf('never mentioned')]
      return [table.lastOf(slots), table.lastSupersededOf(slots), table.lastRemovedOf(slots)]
    }
    expect(lasts((table) => table.raiseExpiryFloor(5))).toEqual([5, 0, 0])
    expect(lasts((table) => table.raiseFloor(6))).toEqual([6, 6, 0])
    expect(lasts((table) => table.raiseRemovalFloor(7))).toEqual([7, 7, 7])
  })

  test('no order and no repetition of them ever takes anything back', () => {
    const told = fc.oneof(
      fc.tuple(kind, names, fc.nat(50)),
      fc.tuple(floorKind, fc.nat(50)).map(([floor, position]) => [floor, undefined, position] as const),
    )
    fc.assert(
      fc.property(fc.array(told), (all) => {
        const table = new LastInvalidations(256)
        const slots = ['a', 'b', 'c', 'user:1', 'user:2', ''].map((name) => table.slotOf(name))
        const lasts = () =>
          slots.flatMap((slot) => [
            table.lastOf([slot]),
            table.lastSupersededOf([slot]),
            table.lastRemovedOf([slot]),
          ])
        let before = lasts()
        for (const [what, name, position] of all) {
          if (name === undefined) table[what as 'raiseFloor'](position)
          else table[what as 'invalidate'](name, position)
          const after = lasts()
          expect(after.every((last, index) => last >= before[index]!)).toBe(true)
          before = after
        }
      }),
      { seed },
    )
  })

  test('a value is current exactly where its position is at or above its newest expiry and supersession', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(kind, names, fc.nat(20)), { maxLength: 6 }),
        fc.array(names, { maxLength: 3 }),
        fc.nat(20),
        (all, depended, position) => {
          const table = new LastInvalidations(65_536, 1)
          for (const [what, name, at] of all) table[what as 'expire'](name, at)
          const slots = depended.map((name) => table.slotOf(name))
          expect(table.isCurrent(position, slots)).toBe(position >= table.lastOf(slots))
        },
      ),
      { seed },
    )
  })

  test('an expiry or a removal that shares its slot with another name costs a copy, and is not forgotten', () => {
    // As large as that a name's lesser slot is shared by names whose main slots differ.
    const table = new LastInvalidations(2 ** 20, 1)
    const target = table.slotOf('victim')
    const sharesLesser = (slot: number) => slot !== target && (slot & 0xffff) === (target & 0xffff)
    let other = 0
    while (!sharesLesser(table.slotOf(`other:${other}`))) other++
    table.expire('victim', 9)
    table.expire(`other:${other}`, 4)
    table.remove('victim', 8)
    table.remove(`other:${other}`, 3)
    expect([table.isCurrent(8, [target]), table.isCurrent(9, [target])]).toEqual([false, true])
    expect(table.lastRemovedOf([target])).toBe(8)
    table.expire(`other:${other}`, 12)
    table.remove(`other:${other}`, 11)
    expect(table.isCurrent(11, [target])).toBe(false)
    expect(table.lastRemovedOf([target])).toBe(11)
    // The table that decides about truth is not the one that collides.
    expect(table.lastSupersededOf([target])).toBe(8)
  })

  test('expiries and removals take no memory until the first of them', () => {
    const allocated: number[] = []
    const Original = globalThis.Float64Array
    globalThis.Float64Array = new Proxy(Original, {
      construct: (target, [length]: [number]) => {
        allocated.push(length)
        return new target(length)
      },
    })
    try {
      const table = new LastInvalidations(256)
      table.invalidate('a', 1)
      table.raiseExpiryFloor(2)
      table.raiseRemovalFloor(2)
      table.isCurrent(1, [3])
      expect(allocated).toEqual([256])
      table.expire('a', 3)
      table.expire('b', 4)
      expect(allocated).toEqual([256, 65_536])
      table.remove('a', 5)
      expect(allocated).toEqual([256, 65_536, 65_536])
    } finally {
      globalThis.Float64Array = Original
    }
  })

  test('a read looks up only what its value is older than the newest of', () => {
    const table = new LastInvalidations(65_536, 1)
    let looks = 0
    const slots = new Proxy([table.slotOf('a')], {
      get: (target, name) => {
        if (name === '0') looks++
        return Reflect.get(target, name)
      },
    })
    const looksAt = (position: number) => {
      looks = 0
      table.isCurrent(position, slots)
      return looks
    }
    expect(looksAt(0)).toBe(0)
    table.expire('elsewhere', 10)
    expect(looksAt(10)).toBe(0)
    expect(looksAt(9)).toBe(1)
    table.invalidate('elsewhere', 9)
    expect(looksAt(9)).toBe(1)
    expect(looksAt(8)).toBe(2)
  })

  test('another epoch forgets them, but knows of nothing below its floor whether it was removed', () => {
    const table = new LastInvalidations(256)
    table.expire('a', 100)
    table.remove('a', 100)
    table.raiseExpiryFloor(100)
    table.raiseRemovalFloor(100)
    table.reset(2)
    const slots = [table.slotOf('a')]
    expect(table.isCurrent(2, slots)).toBe(true)
    expect([table.lastOf(slots), table.lastRemovedOf(slots)]).toEqual([2, 2])
  })
})
