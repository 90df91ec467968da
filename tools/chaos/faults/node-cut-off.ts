import type { Fault } from './fault.js'

/**
 * No bytes pass between one node and the servers, but connections stay open. Clients still reach the node, which a network
 * namespace would prevent. So the node could answer with a stale value.
 */
export const nodeCutOff: Fault = {
  kind: 'node cut off from Postgres and Redis',
  lane: 'node',
  forNaive: false,
  async strike({ cluster, random, boundMs, begins, ask, hold }) {
    await cluster.withNode(random, async (node) => {
      const late = random.chance(0.5)
      begins(late ? 'what was sent meanwhile arrives late' : 'connections are lost', node.number)
      for (const cable of node.cables) cable.cut()
      await hold(boundMs + random.integer(500, 2_500))
      ask(node)
      for (const cable of node.cables) cable.mend(late)
    })
  },
}
