import { describe, expect, test } from '@jest/globals'
import { Faults, faultPoints, parseFaults } from '../../../src/kernel/faults.js'

describe('faults', () => {
  test('several points are read, with the usual hold where no time is given', () => {
    expect(parseFaults('before-load:hold:20, after-commit:kill,before-store:hold')).toEqual([
      { point: 'before-load', action: 'hold', ms: 20 },
      { point: 'after-commit', action: 'kill', ms: 1_000 },
      { point: 'before-store', action: 'hold', ms: 1_000 },
    ])
    expect(parseFaults('')).toEqual([])
    expect(parseFaults(faultPoints.map((point) => `${point}:hold:1`).join())).toHaveLength(faultPoints.length)
  })

  test.each([
    'nowhere:kill',
    'before-load',
    'before-load:explode',
    'before-load:hold:soon',
    'before-load:hold:-1',
    'before-load:hold:1:2',
    'before-load:hold:9999999',
    'toString:kill',
  ])('%j is refused, and the message names it', (text) => {
    expect(() => parseFaults(text)).toThrow(text)
  })

  test('without any, a point makes nobody wait', () => {
    const faults = new Faults()
    expect(faults.active).toBe(false)
    for (const point of faultPoints) expect(faults.at(point)).toBeUndefined()
  })

  test('a hold holds its own point only', async () => {
    const faults = new Faults(parseFaults('before-load:hold:1'))
    expect(faults.active).toBe(true)
    expect(faults.at('before-store')).toBeUndefined()
    await expect(faults.at('before-load')).resolves.toBeUndefined()
  })
})
