import { describe, expect, test } from '@jest/globals'
import fc from 'fast-check'
import { ClusterClock } from '../../../src/kernel/journal/cluster-clock.js'
import { ManualClock } from '../../support/manual-clock.js'
import { seed } from '../../support/seed.js'

function start() {
  const clock = new ManualClock()
  const cluster = new ClusterClock(clock)
  /** The clock of Postgres, which runs as this node's does, from elsewhere. */
  let offset = 1_700_000_000_000
  const postgres = () => clock.now() + offset
  return {
    clock,
    cluster,
    postgres,
    step: (ms: number) => {
      offset += ms
    },
    /** A question that took so many ms on the way there, and so many back. */
    ask: (thereMs: number, backMs: number) => {
      const startedAt = clock.now()
      clock.advance(thereMs)
      const answer = postgres()
      clock.advance(backMs)
      cluster.observe(answer, startedAt, clock.now())
    },
    /** By how many ms this node is off. */
    error: () => cluster.now() - postgres(),
  }
}

describe('the clock of the cluster', () => {
  test('is not known before the first answer', () => {
    const { cluster, ask } = start()
    expect(cluster.known).toBe(false)
    expect(cluster.now()).toBeNaN()
    ask(1, 1)
    expect(cluster.known).toBe(true)
  })

  test('goes on between answers as this node’s monotonic clock does, whatever the wall clock does', () => {
    const { clock, cluster, postgres, ask } = start()
    ask(5, 5)
    clock.advance(60_000)
    clock.jumpWall(900_000)
    expect(cluster.now()).toBe(postgres())
  })

  test('a moment of the cluster’s is the same moment here', () => {
    const { clock, cluster, ask } = start()
    ask(5, 5)
    expect(cluster.toLocal(cluster.now())).toBe(clock.now())
    expect(cluster.toLocal(cluster.now() + 250)).toBe(clock.now() + 250)
  })

  test('is off by no more than half the round trip, however unequal the two ways', () => {
    const { ask, error } = start()
    ask(100, 0)
    expect(error()).toBe(50)
    ask(0, 20)
    expect(error()).toBe(-10)
  })

  test('a slow reply does not spoil what a quick one has told', () => {
    const { ask, error } = start()
    ask(1, 1)
    ask(400, 0)
    expect(error()).toBe(0)
    ask(0, 900)
    expect(error()).toBe(0)
  })

  test('a quicker reply mends what a slow one has told', () => {
    const { ask, error } = start()
    ask(400, 0)
    expect(error()).toBe(200)
    ask(3, 1)
    expect(error()).toBe(1)
  })

  test('follows at once where the clock of Postgres was stepped or failed over, even by a slow reply', () => {
    const { ask, error, step } = start()
    ask(1, 1)
    step(-60_000)
    ask(200, 200)
    expect(error()).toBe(0)
    step(900_000)
    ask(600, 200)
    expect(error()).toBe(200)
  })

  test('follows where this node’s monotonic clock stood still while the machine was suspended', () => {
    const { ask, error, step } = start()
    ask(1, 1)
    step(3_600_000)
    ask(50, 50)
    expect(error()).toBe(0)
  })

  test('a lucky reply is not believed for ever: clocks drift apart', () => {
    const { clock, ask, error, step } = start()
    ask(0, 0)
    step(-9)
    ask(20, 0)
    // Slower, and both may be true: by now it is the older one that is the worse.
    expect(error()).toBe(9)
    clock.advance(60_000)
    ask(20, 0)
    expect(error()).toBe(10)
  })

  test('after a step is never off by more than its slowest reply has taken, in any run of replies', () => {
    const reply = fc.record({ there: fc.nat(500), back: fc.nat(500), pause: fc.nat(2_000) })
    fc.assert(
      fc.property(fc.array(reply, { minLength: 1 }), fc.integer({ min: -1e6, max: 1e6 }), (replies, by) => {
        const { clock, ask, error, step } = start()
        ask(0, 0)
        step(by)
        let slowest = 0
        for (const { there, back, pause } of replies) {
          clock.advance(pause)
          ask(there, back)
          slowest = Math.max(slowest, there + back)
          // Twice what one reply allows: a step smaller than that cannot be told from a slow reply.
          expect(Math.abs(error())).toBeLessThanOrEqual(slowest + 0.001 * clock.now())
        }
      }),
      { seed },
    )
  })
})
