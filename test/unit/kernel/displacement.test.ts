import { describe, expect, test } from '@jest/globals'
import { type Copy, displaces, isOlder, use } from '../../../src/kernel/cache/entries/displacement.js'

const copy = (parts: Partial<Copy> = {}): Copy => ({
  stamp: { epoch: 'e', position: 5 },
  loadedAt: 100,
  freshUntil: 1_000,
  use: use.fresh,
  ...parts,
})
const at = (position: number, epoch = 'e') => ({ stamp: { epoch, position } })

describe('a copy replaces another one', () => {
  test.each<[what: string, offered: Partial<Copy>, present: Partial<Copy>]>([
    ['whose load ended earlier at the same position', { loadedAt: 101 }, { loadedAt: 100 }],
    ['whose load began at a lower position', at(6), at(5)],
    [
      'that has expired, even if its load began at a higher position',
      { ...at(5), loadedAt: 101 },
      { ...at(6), use: use.expired },
    ],
    [
      'that is invalidated, if it has merely expired itself',
      { loadedAt: 101, use: use.expired },
      { use: use.invalidated },
    ],
    [
      'that nothing can use, if fail-safe may use it',
      { loadedAt: 101, use: use.invalidated },
      { use: use.none },
    ],
    ['of the same load that has expired here', {}, { use: use.expired }],
    ['of the same load that expires here sooner', { freshUntil: 1_001 }, {}],
    ['of another epoch', at(1, 'f'), { ...at(9), use: use.none }],
  ])('%s', (_, offered, present) => {
    expect(displaces(copy(offered), copy(present))).toBe(true)
  })
})

describe('a copy does not replace another one', () => {
  test.each<[what: string, offered: Partial<Copy>, present: Partial<Copy>]>([
    ['that is fresh, if it has expired itself', { ...at(6), loadedAt: 101, use: use.expired }, {}],
    [
      'that fail-safe may answer, if it was removed itself',
      { ...at(6), use: use.none },
      { use: use.expired },
    ],
    [
      'that has merely expired, if it is invalidated itself',
      { ...at(6), use: use.invalidated },
      { use: use.expired },
    ],
    ['whose load ended later at the same position', { loadedAt: 99 }, {}],
    ['whose load ended later, if that one has expired', { loadedAt: 99 }, { use: use.expired }],
    [
      'whose load ended later, even if that one was removed',
      { loadedAt: 99, use: use.expired },
      { use: use.none },
    ],
    ['whose load began at a higher position, if both are fresh', { ...at(4), loadedAt: 101 }, {}],
    ['of the same load', {}, {}],
    ['of the same load, if both have expired', { freshUntil: 1_001, use: use.expired }, { use: use.expired }],
  ])('%s', (_, offered, present) => {
    expect(displaces(copy(offered), copy(present))).toBe(false)
  })
})

test('two copies never replace each other', () => {
  const all = [at(4), at(5), at(5, 'f')].flatMap((stamp) =>
    [99, 100].flatMap((loadedAt) =>
      [900, 1_000].flatMap((freshUntil) =>
        Object.values(use).map((one) => copy({ ...stamp, loadedAt, freshUntil, use: one })),
      ),
    ),
  )
  for (const one of all)
    for (const other of all) expect(displaces(one, other) && displaces(other, one)).toBe(false)
})

test('loads of different epochs are never ordered', () => {
  expect(isOlder(copy(at(4)), copy(at(5)))).toBe(true)
  expect(isOlder(copy(at(4)), copy(at(5, 'f')))).toBe(false)
})
