import { afterAll, beforeAll, expect, test } from '@jest/globals'
import type { Explored } from './explore.js'
import { ExplorerProcess } from './explorer-process.js'
import { smallScenarios } from './small-scenarios.js'

const total = { states: 0, runs: 0, steps: 0 }
let explorer: ExplorerProcess<Explored>
beforeAll(() => {
  explorer = new ExplorerProcess('test/consistency/explore.ts')
})
afterAll(() => {
  explorer.remove()
  const { states, runs, steps } = total
  process.stdout.write(`explored exhaustively: ${states} states, ${runs} runs, ${steps} steps\n`)
})

test.each(smallScenarios)(
  'no order breaks a promise: $title',
  async ({ title }) => {
    const { states = 0, runs, steps, complete } = await explorer.explore('exhaustively', title)
    process.stdout.write(`explored ${title}: ${states} states, ${runs} runs, ${steps} steps\n`)
    total.states += states
    total.runs += runs
    total.steps += steps
    expect(complete).toBe(true)
  },
  600_000,
)
