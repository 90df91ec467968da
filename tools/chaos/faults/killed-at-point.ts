import type { FaultPoint } from '../../../src/kernel/faults.js'
import type { Fault } from './fault.js'

/** A limit for the node to start and to get a write. */
const limitMs = 20_000

/** A node dies at a point of its next write, and the client gets no answer. */
function killedAt(kind: string, point: FaultPoint, forNaive: boolean): Fault {
  return {
    kind,
    lane: 'node',
    forNaive,
    async strike({ cluster, random, begins, hold }) {
      await cluster.withNode(random, async (node) => {
        await node.kill()
        // It may die before it is ready, because any node can number the events of others.
        await node.start({ FAULTS: `${point}:kill` }, false)
        const struck = await Promise.race([
          node.process.exited.then(() => true),
          hold(limitMs).then(() => false),
        ])
        if (struck) begins('', node.number)
        else await node.kill()
        await node.start()
      })
    },
  }
}

export const killedAfterCommit = killedAt('node killed between COMMIT and numbering', 'after-commit', true)
export const killedAfterNumbering = killedAt(
  'node killed between numbering and publish',
  'after-numbering',
  false,
)
