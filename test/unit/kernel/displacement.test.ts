import { describe, expect, test } from '@jest/globals'
import { type Copy, displaces, isOlder, use } from '../../../src/kernel/cache/displacement.js'

const copy = (parts: Partial<Copy> = {}): Copy => ({
  stamp: { epoch: 'e', position: 5 },
  loadedAt: 100,
  freshUntil: 1_000,
  use: use.fresh,
  ...parts,
})
const at = (position: number, epoch = 'e') => ({ stamp: { epoch, position } })

describe('a copy takes the place of another', () => {
  test.each<[what: string, offered: Partial<Copy>, present: Partial<Copy>]>([
    ['of an earlier load at the same position', { loadedAt: 101 }, { loadedAt: 100 }],
    ['of a load at a lower position', at(6), at(5)],
    [
      'that is past its time, be it newer in part',
      { ...at(5), loadedAt: 101 },
      { ...at(6), use: use.expired },
    ],
    [
      'that is invalidated, if it is only past its time',
      { loadedAt: 101, use: use.expired },
      { use: use.invalidated },
    ],
    ['that is of no use, if it is invalidated', { loadedAt: 101, use: use.invalidated }, { use: use.none }],
    ['of the same load, whose time here is over', {}, { use: use.expired }],
    ['of the same load, whose time here is over sooner', { freshUntil: 1_001 }, {}],
    ['of another epoch', at(1, 'f'), { ...at(9), use: use.none }],
  ])('%s', (_, offered, present) => {
    expect(displaces(copy(offered), copy(present))).toBe(true)
  })
})

describe('a copy does not take the place of another', () => {
  test.each<[what: string, offered: Partial<Copy>, present: Partial<Copy>]>([
    ['that is served, while it cannot be', { ...at(6), loadedAt: 101, use: use.expired }, {}],
    ['that fail-safe may answer, while it is removed', { ...at(6), use: use.none }, { use: use.expired }],
    [
      'that fail-safe may answer, while it is invalidated',
      { ...at(6), use: use.invalidated },
      { use: use.expired },
    ],
    ['of a later load at the same position', { loadedAt: 99 }, {}],
    ['of a later load that is past its time', { loadedAt: 99 }, { use: use.expired }],
    ['of a later load that is removed', { loadedAt: 99, use: use.expired }, { use: use.none }],
    ['of a load at a higher position that is served', { ...at(4), loadedAt: 101 }, {}],
    ['of the same load', {}, {}],
    [
      'of the same load, if both are past their time',
      { freshUntil: 1_001, use: use.expired },
      { use: use.expired },
    ],
  ])('%s', (_, offered, present) => {
    expect(displaces(copy(offered), copy(present))).toBe(false)
  })
})

test('of two copies, at most one takes the other’s place', () => {
  const all = [4, 5].flatMap((position) =>
    [99, 100].flatMap((loadedAt) =>
      [900, 1_000].flatMap((freshUntil) =>
        Object.values(use).map((one) => copy({ ...at(position), loadedAt, freshUntil, use: one })),
      ),
    ),
  )
  for (const one of all)
    for (const other of all) expect(displaces(one, other) && displaces(other, one)).toBe(false)
})

test('which of two loads of different epochs was earlier is not known', () => {
  expect(isOlder(copy(at(4)), copy(at(5)))).toBe(true)
  expect(isOlder(copy(at(4)), copy(at(5, 'f')))).toBe(false)
})
