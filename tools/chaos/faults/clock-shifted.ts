import { rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fakeClock } from '../cluster.js'
import type { Fault } from './fault.js'

/** A node whose wall clock is wrong by minutes or hours, and jumps while it runs. */
export const clockShifted: Fault = {
  kind: 'clock shifted',
  lane: 'node',
  forNaive: true,
  missing: () => (fakeClock('') ? undefined : 'there is no faketime on the PATH'),
  async strike({ cluster, random, begins, hold }) {
    await cluster.withNode(random, async (node) => {
      const file = join(cluster.path, `clock-${node.number}`)
      const offsets = random.shuffled(['+15m', '-15m', '+3d', '-2h', '+700'])
      const [first = '+15m', second = '-15m'] = offsets
      await writeFile(file, first)
      begins(`${first}, then ${second}`, node.number)
      await node.kill()
      await node.start(fakeClock(file))
      await hold(random.integer(800, 1_800))
      await writeFile(file, second)
      await hold(random.integer(1_200, 2_500))
      await node.kill()
      await node.start()
      await rm(file)
    })
  },
}
