import {
  explain,
  nodeNumbers,
  nodeRows,
  observe,
  registerWarm,
  type Scene,
  stopAll,
  writeRow,
} from '../stage.js'

const shownMs = 800

export const plainWrite: Scene = {
  title: 'A write on node 1, while all three nodes hold the user in memory',
  async play(stage) {
    const { terminal, sides } = stage
    const columns = sides.map(({ name }) => name)
    const watches = await registerWarm(stage, 'Ada')
    const before = nodeNumbers.map((number) => ({
      label: `node ${number}`,
      cells: watches.map(({ reads }) => {
        const read = reads.findLast(({ node }) => node === number)
        return {
          text: `${read?.name}, ${read?.fromMemory ? 'from memory (L1)' : 'loaded'}`,
          tone: 'plain' as const,
        }
      }),
    }))
    terminal.table(columns, before)
    for (const watch of watches) watch.poll(...nodeNumbers)
    const writes = await Promise.all(watches.map((watch) => watch.rename(1, 'Ada Lovelace')))
    await observe(stage, shownMs, 'PATCH sent to node 1, reading every node')
    await stopAll(watches)
    terminal.say('')
    terminal.say('PATCH {"name": "Ada Lovelace"} to node 1:')
    terminal.table(columns, [writeRow(writes, 'not answered'), ...nodeRows(watches, writes)])
    explain(stage, {
      ours: 'the event of the write gets a number with COMMIT or right after it, and goes to every node.',
      naive:
        'this works as well, as long as nothing fails. The other scenes show what happens when something fails.',
    })
  },
}
