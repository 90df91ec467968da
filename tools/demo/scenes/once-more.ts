import type { Watch } from '../probe.js'
import { explain, nodeNumbers, type Scene } from '../stage.js'
import type { Cell } from '../terminal.js'

export const onceMore: Scene = {
  title: 'Some time later: every user of this story, once more, from every node',
  async play(stage) {
    const { terminal, sides } = stage
    const perSide = await Promise.all(
      sides.map(async ({ watches }) => {
        const cells: Cell[] = []
        for (const number of nodeNumbers) cells.push(await readAll(watches, number))
        return cells
      }),
    )
    terminal.table(
      sides.map(({ name }) => name),
      nodeNumbers.map((number, row) => ({
        label: `node ${number}`,
        cells: perSide.map((cells) => cells[row] as Cell),
      })),
    )
    explain(stage, {
      ours: 'no value is old.',
      naive:
        'after one lost message, an old value stays until it expires: here 60 s in memory and 300 s in Redis.',
    })
  },
}

async function readAll(watches: readonly Watch[], number: number): Promise<Cell> {
  const fresh = await Promise.all(
    watches.map(async (watch) => {
      const read = await watch.read(number)
      return read !== undefined && watch.tally([read]).stale === 0
    }),
  )
  const count = fresh.filter(Boolean).length
  return count === fresh.length
    ? { text: `✔ ${count} of ${fresh.length} fresh`, tone: 'good' }
    : { text: `✖ ${fresh.length - count} of ${fresh.length} old`, tone: 'bad' }
}
