import type { Fault } from './fault.js'

/**
 * Nothing passes between one node and the servers, and nobody is told. Clients still reach the node, which a
 * network namespace would prevent: so it has the chance to answer what it should not.
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
