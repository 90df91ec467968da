import { afterAll, expect, test } from '@jest/globals'
import { exploreAll } from './exhaustive-exploration.js'
import { describeFailure } from './minimised-trace.js'
import { smallScenarios } from './small-scenarios.js'

const total = { states: 0, runs: 0, steps: 0 }
afterAll(() => {
  const { states, runs, steps } = total
  process.stdout.write(`explored exhaustively: ${states} states, ${runs} runs, ${steps} steps\n`)
})

test.each(smallScenarios)(
  'no order breaks a promise: $title',
  async ({ title, scenario }) => {
    const startedAt = performance.now()
    const { runs, steps, states, complete, failure } = await exploreAll(scenario)
    const seconds = ((performance.now() - startedAt) / 1_000).toFixed(1)
    process.stdout.write(`explored ${title}: ${states} states, ${runs} runs, ${steps} steps, ${seconds} s\n`)
    total.states += states
    total.runs += runs
    total.steps += steps
    if (failure) throw new Error(await describeFailure(scenario, failure.chosen, failure.violation))
    expect(complete).toBe(true)
  },
  600_000,
)
