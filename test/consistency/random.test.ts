import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { isThorough } from '../support/depth.js'
import { seed } from '../support/seed.js'
import type { Explored } from './explore.js'
import { ExplorerProcess } from './explorer-process.js'
import { hardCases } from './hard-cases.js'

let explorer: ExplorerProcess<Explored>
beforeAll(() => {
  explorer = new ExplorerProcess('test/consistency/explore.ts')
})
afterAll(() => explorer.remove())

test('no random run of nodes, clients and troubles breaks a promise', async () => {
  // A seed that was given is that of the one run that failed.
  const wanted = Number(process.env.RUNS ?? (process.env.SEED ? 1 : isThorough ? 50_000 : 2_000))
  const { runs, steps, complete } = await explorer.explore('at-random', seed, wanted)
  process.stdout.write(`explored at random: ${runs} runs, ${steps} steps\n`)
  expect(complete).toBe(true)
}, 900_000)

test.each(Object.keys(hardCases))('no random order breaks a promise: %s', async (name) => {
  const { complete } = await explorer.explore('at-random', seed, isThorough ? 1_000 : 100, name)
  expect(complete).toBe(true)
})
