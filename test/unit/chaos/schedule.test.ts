import { describe, expect, test } from '@jest/globals'
import { type Fault, lanes } from '../../../tools/chaos/faults/fault.js'
import { allFaults } from '../../../tools/chaos/faults/index.js'
import { type Planned, Schedule } from '../../../tools/chaos/schedule.js'

function draw(schedule: Schedule, count: number): Planned[] {
  return lanes.flatMap((lane) => Array.from({ length: count }, () => schedule.next(lane) as Planned))
}

describe('the schedule of faults', () => {
  test('is the same for the same seed, and another one for another seed', () => {
    const told = (seed: number) =>
      draw(new Schedule(seed, allFaults), 20).map(
        ({ fault, random, pauseMs }) => `${fault.kind} ${pauseMs} ${random.next()}`,
      )
    expect(told(7)).toEqual(told(7))
    expect(told(7)).not.toEqual(told(8))
  })

  test.each(lanes)('brings every kind of the lane "%s" once before any comes twice', (lane) => {
    const kinds = allFaults.filter((fault) => fault.lane === lane).map(({ kind }) => kind)
    const schedule = new Schedule(1, allFaults)
    for (let round = 0; round < 3; round++) {
      const drawn = kinds.map(() => schedule.next(lane)?.fault.kind)
      expect(drawn.toSorted()).toEqual(kinds.toSorted())
    }
  })

  test('has nothing for a lane without any kind', () => {
    const [only] = allFaults.filter(({ lane }) => lane === 'redis') as [Fault]
    expect(new Schedule(1, [only]).next('node')).toBeUndefined()
  })

  test('begins with a quiet phase, and has one after each storm', () => {
    const schedule = new Schedule(1, allFaults)
    expect(schedule.untilStorm(0)).toBeGreaterThan(1_000)
    const seconds = Array.from({ length: 120 }, (_, second) => schedule.untilStorm(second * 1_000) === 0)
    expect(seconds.filter((storm) => storm).length).toBeGreaterThan(60)
    expect(seconds.filter((storm) => !storm).length).toBeGreaterThan(30)
  })

  test('has no two kinds of one name', () => {
    expect(new Set(allFaults.map(({ kind }) => kind)).size).toBe(allFaults.length)
  })
})
