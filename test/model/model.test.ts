import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { ExplorerProcess } from '../consistency/explorer-process.js'
import { fence } from '../consistency/guards.js'
import { seed } from '../support/seed.js'
import type { Explored } from './explore.js'

const program = 'test/model/explore.ts'

/** A seed that was given is that of the one sequence that failed. */
const wanted = Number(process.env.SEQUENCES ?? (process.env.SEED ? 1 : 60))
/** Two at once, as a small CI machine has two cores. */
const halves = wanted < 2 ? [wanted] : [Math.ceil(wanted / 2), Math.floor(wanted / 2)]

describe('the cache against its reference model', () => {
  let explorer: ExplorerProcess<Explored>
  beforeAll(() => {
    explorer = new ExplorerProcess(program)
  })
  afterAll(() => explorer.remove())

  test('every answer of random sequences on several nodes is one that the documentation allows', async () => {
    const explored = await Promise.all(
      halves.map((count, half) => explorer.explore(seed + half * (halves[0] as number), count)),
    )
    const sequences = explored.reduce((sum, one) => sum + one.sequences, 0)
    process.stdout.write(`run against the reference model: ${sequences} sequences\n`)
    expect(sequences).toBe(wanted)
  }, 900_000)
})

describe('without the fence', () => {
  let explorer: ExplorerProcess<Explored>
  beforeAll(() => {
    explorer = new ExplorerProcess(program, fence)
  })
  afterAll(() => explorer.remove())

  test('five sequences are enough to find an answer that is wrong', async () => {
    await expect(explorer.explore(seed, 5, 'as it is')).rejects.toThrow(/SEED=\d+ repeats it/)
  })
})
