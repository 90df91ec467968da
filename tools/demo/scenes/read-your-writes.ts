import type { Watch } from '../probe.js'
import { explain, nodeNumbers, registerWarm, type Scene } from '../stage.js'
import type { Cell } from '../terminal.js'

const rounds = 40

export const readYourWrites: Scene = {
  title: `Read your own write, on any node, at once: ${rounds} writes on node 1`,
  async play(stage) {
    const { terminal, sides } = stage
    terminal.busy('writing on node 1, and reading every node as soon as the answer arrives')
    const watches = await registerWarm(stage, 'Barbara')
    const counts = await Promise.all(watches.map(writeAndRead))
    terminal.table(
      sides.map(({ name }) => name),
      nodeNumbers.map((number, row) => ({
        label: `node ${number}`,
        cells: counts.map((perNode) => perNode[row] as Cell),
      })),
    )
    explain(stage, {
      ours:
        'a write answers with a Consistency-Token, which is a position in the order of commits. If a node gets ' +
        'a token of a position that it has not reached yet, it asks Postgres before it answers.',
      naive: 'the message is usually faster than the next request, but nothing guarantees that.',
    })
  },
}

async function writeAndRead(watch: Watch): Promise<Cell[]> {
  const first = watch.reads.length
  for (let round = 1; round <= rounds; round++) {
    const write = await watch.rename(1, `Barbara ${round}`)
    await write.settled
    await Promise.all(nodeNumbers.map((number) => watch.read(number, write)))
  }
  const reads = watch.reads.slice(first)
  return nodeNumbers.map((number) => {
    const {
      reads: all,
      withToken,
      oldWithinBound,
      stale,
    } = watch.tally(reads.filter(({ node }) => node === number))
    const old = oldWithinBound + stale
    const how = withToken === all ? 'with the token' : 'there is no token'
    return old === 0
      ? { text: `✔ ${all} of ${all} see it (${how})`, tone: 'good' }
      : { text: `✖ ${old} of ${all} do not see it (${how})`, tone: 'bad' }
  })
}
