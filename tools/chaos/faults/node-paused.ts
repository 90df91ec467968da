import { pausedNode } from '../tally.js'
import type { Fault } from './fault.js'

/**
 * A node is paused (SIGSTOP) for longer than its lease. Requests that clients send meanwhile are the first that it handles
 * afterwards. It must not answer them from a cache before a check.
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
        // Otherwise hints published meanwhile would wait in its socket and only be late.
        if (random.chance(0.5)) await cluster.redis.command('CLIENT', 'KILL', 'TYPE', 'pubsub')
        await hold(boundMs + random.integer(700, 2_500))
        // Requests of the load balancer were sent when the pause started. Newer ones must show newer values.
        ask(node)
        await hold(100)
      } finally {
        node.process.kill('SIGCONT')
        ask(node)
      }
    })
  },
}
