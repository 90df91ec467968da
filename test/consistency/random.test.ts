import { expect, test } from '@jest/globals'
import { seed } from '../support/seed.js'
import { hardCases } from './hard-cases.js'
import { describeFailure } from './minimised-trace.js'
import { exploreAtRandom } from './random-exploration.js'

test('no random run of nodes, clients and troubles breaks a promise', async () => {
  // A seed that was given is that of the one run that failed.
  const wanted = Number(process.env.RUNS ?? (process.env.SEED ? 1 : 50_000))
  const startedAt = performance.now()
  const { runs, steps, failure } = await exploreAtRandom(seed, wanted)
  const seconds = ((performance.now() - startedAt) / 1_000).toFixed(1)
  process.stdout.write(`explored at random: ${runs} runs, ${steps} steps, ${seconds} s\n`)
  if (failure)
    throw new Error(await describeFailure(failure.scenario, failure.chosen, failure.violation, failure.seed))
  expect(runs).toBe(wanted)
}, 900_000)

test.each(Object.entries(hardCases))('no random order breaks a promise: %s', async (_title, hardCase) => {
  const { failure } = await exploreAtRandom(seed, 1_000, hardCase)
  if (failure)
    throw new Error(await describeFailure(hardCase, failure.chosen, failure.violation, failure.seed))
})
