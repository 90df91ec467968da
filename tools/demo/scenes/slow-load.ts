import { setTimeout as sleep } from 'node:timers/promises'
import { explain, nodeRows, observe, observeMs, type Scene, stopAll, writeRow } from '../stage.js'

const holdMs = 500
/** After so many ms the slow load has read its row, but not stored the value. */
const readByMs = 150

export const slowLoad: Scene = {
  title: 'A slow load on node 3 reads the old row; the write comes before its value is stored',
  async play(stage) {
    const { terminal, sides } = stage
    terminal.busy(`starting node 3 with FAULTS=after-load-read:hold:${holdMs}`)
    await Promise.all(sides.map((side) => side.replace(3, `after-load-read:hold:${holdMs}`)))
    const watches = await Promise.all(sides.map((side) => side.register('Frances')))
    const slowReads = Promise.all(watches.map((watch) => watch.read(3)))
    await sleep(readByMs)
    for (const watch of watches) watch.poll(1, 2)
    const writes = await Promise.all(watches.map((watch) => watch.rename(1, 'Frances Allen')))
    const slow = await slowReads
    for (const watch of watches) watch.poll(3)
    await observe(stage, observeMs, 'the slow load has brought its old value, reading every node')
    await stopAll(watches)
    await Promise.all(sides.map((side) => side.replace(3)))
    terminal.say(`FAULTS=after-load-read:hold:${holdMs} on node 3: every load takes ${holdMs} ms there.`)
    terminal.table(
      sides.map(({ name }) => name),
      [
        {
          label: 'slow read',
          cells: slow.map((read) => ({ text: `${read?.name}, begun before the write`, tone: 'quiet' })),
        },
        writeRow(writes, 'not answered'),
        ...nodeRows(watches, writes),
      ],
    )
    explain(stage, {
      ours:
        'a cached value carries the position at which its load started. The user was invalidated at a later ' +
        'position, so node 3 never answers with this value after the write: it loads the user again.',
      naive:
        'the invalidation came first and found nothing to delete. Then the old value was stored in memory and ' +
        'in Redis.',
    })
  },
}
