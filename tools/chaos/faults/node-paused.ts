import { pausedNode } from '../tally.js'
import type { Fault } from './fault.js'

/**
 * SIGSTOP for longer than the lease. What clients send meanwhile waits, and is answered first when the node goes
 * on: it must not be answered from a cache before a check.
 */
export const nodePaused: Fault = {
  kind: pausedNode,
  lane: 'node',
  forNaive: true,
  async strike({ cluster, random, boundMs, begins, ask, hold }) {
    await cluster.withNode(random, async (node) => {
      begins('', node.number)
      node.process.kill('SIGSTOP')
      try {
        // What was published to it meanwhile would wait in its socket, and only be late.
        if (random.chance(0.5)) await cluster.redis.command('CLIENT', 'KILL', 'TYPE', 'pubsub')
        await hold(boundMs + random.integer(700, 2_500))
        // The round-robin's requests have waited since the pause began; these have not, and so may be less old.
        ask(node)
        await hold(100)
      } finally {
        node.process.kill('SIGCONT')
        ask(node)
      }
    })
  },
}
