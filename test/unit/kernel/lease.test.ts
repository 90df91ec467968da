import { describe, expect, test } from '@jest/globals'
import { Lease } from '../../../src/kernel/journal/lease.js'
import { ManualClock } from '../../support/manual-clock.js'

function leased() {
  const clock = new ManualClock()
  return { clock, lease: new Lease(clock, 2_000) }
}

describe('the lease', () => {
  test('does not hold before the first check', () => {
    expect(leased().lease.holds()).toBe(false)
  })

  test('is counted from before the check, so that a slow reply does not stretch it', () => {
    const { clock, lease } = leased()
    const [startedAt, startedAtWall] = [clock.now(), clock.wall()]
    clock.advance(1_500)
    lease.renew(startedAt, startedAtWall)
    expect(lease.remaining()).toBe(500)
    clock.advance(499)
    expect(lease.holds()).toBe(true)
    clock.advance(1)
    expect(lease.holds()).toBe(false)
    expect(lease.remaining()).toBe(0)
  })

  test('a check that answered late cannot shorten what a newer one has bought', () => {
    const { clock, lease } = leased()
    const [startedAt, startedAtWall] = [clock.now(), clock.wall()]
    clock.advance(100)
    lease.renew(clock.now(), clock.wall())
    lease.renew(startedAt, startedAtWall)
    expect(lease.remaining()).toBe(2_000)
  })

  test.each([101, -101, 3_600_000])('a wall clock that moved by %p ms ends it', (jump) => {
    const { clock, lease } = leased()
    lease.renew(clock.now(), clock.wall())
    clock.jumpWall(jump)
    expect(lease.holds()).toBe(false)
    clock.jumpWall(-jump)
    expect(lease.holds()).toBe(false)
  })

  test('a machine that was suspended in the middle of a check gets no lease from it', () => {
    const { clock, lease } = leased()
    const [startedAt, startedAtWall] = [clock.now(), clock.wall()]
    clock.jumpWall(60_000)
    lease.renew(startedAt, startedAtWall)
    expect(lease.holds()).toBe(false)
  })

  test('a wall clock that is wrong but steady does no harm, and the next check heals a jump', () => {
    const { clock, lease } = leased()
    clock.jumpWall(15 * 60_000)
    lease.renew(clock.now(), clock.wall())
    clock.jumpWall(100)
    expect(lease.holds()).toBe(true)
    clock.jumpWall(5_000)
    expect(lease.holds()).toBe(false)
    lease.renew(clock.now(), clock.wall())
    expect(lease.holds()).toBe(true)
  })
})
