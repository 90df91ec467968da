import type { Fault } from './fault.js'

/** A node is killed (SIGKILL), and a new process replaces it. */
export const nodeKilled: Fault = {
  kind: 'node killed',
  lane: 'node',
  forNaive: true,
  async strike({ cluster, random, begins, hold }) {
    await cluster.withNode(random, async (node) => {
      begins('', node.number)
      await node.kill()
      await hold(random.integer(0, 1_500))
      await node.start()
    })
  },
}
