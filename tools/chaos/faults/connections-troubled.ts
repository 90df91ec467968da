import type { Cable } from '../cable.js'
import type { Fault, FaultContext } from './fault.js'

function someCables({ cluster, random }: FaultContext): Cable[] {
  const cables = cluster.nodes.flatMap((node) => node.cables)
  return random.shuffled(cables).slice(0, random.integer(2, cables.length))
}

/** Connections to the servers break, again and again. */
export const connectionsCut: Fault = {
  kind: 'connections to the servers cut',
  lane: 'postgres',
  forNaive: false,
  async strike(context) {
    const { random, begins, hold } = context
    begins()
    const times = random.integer(3, 8)
    for (let time = 0; time < times; time++) {
      for (const cable of someCables(context)) cable.reset()
      await hold(random.integer(50, 700))
    }
  },
}

/** Some connections delay all bytes by up to half the bound. That delay must not extend a lease. */
export const connectionsDelayed: Fault = {
  kind: 'connections to the servers delayed',
  lane: 'postgres',
  forNaive: true,
  async strike(context) {
    const { random, boundMs, begins, hold } = context
    const slow = someCables(context).map((cable) => cable.delay(random.integer(5, boundMs / 2)))
    begins(`${slow.length} cables`)
    await hold(random.integer(2_000, 4_500))
    for (const end of slow) end()
  },
}
