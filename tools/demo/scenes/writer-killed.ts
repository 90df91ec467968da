import { setTimeout as sleep } from 'node:timers/promises'
import type { Commit, Read } from '../judge.js'
import {
  explain,
  nodeRows,
  observe,
  observeMs,
  registerWarm,
  type Scene,
  stopAll,
  writeRow,
} from '../stage.js'
import type { Cell } from '../terminal.js'

/** Longer than the other nodes need to find the write by themselves. */
const restartAfterMs = 1_000

export const writerKilled: Scene = {
  title: 'The writing node is killed (SIGKILL) after COMMIT, before it can tell the other nodes',
  async play(stage) {
    const { terminal, sides } = stage
    terminal.busy('starting node 1 with FAULTS=after-commit:kill')
    await Promise.all(sides.map((side) => side.replace(1, 'after-commit:kill')))
    const watches = await registerWarm(stage, 'Grace')
    for (const watch of watches) watch.poll(2, 3)
    const writes = await Promise.all(
      watches.map((watch) => watch.rename(1, 'Grace Hopper', { killsNode: true })),
    )
    const exits = await Promise.all(sides.map((side) => side.node(1).exited))
    if (exits.some(({ signal }) => signal !== 'SIGKILL'))
      throw new Error('node 1 was not killed by its write')
    await Promise.all([
      sleep(restartAfterMs).then(() => Promise.all(sides.map((side) => side.replace(1)))),
      observe(stage, observeMs, 'node 1 is dead, and is started again; reading the others'),
    ])
    const restarted = await Promise.all(watches.map((watch) => watch.read(1)))
    await stopAll(watches)
    terminal.table(
      sides.map(({ name }) => name),
      [
        writeRow(writes, 'then killed, no answer'),
        ...nodeRows(watches, writes, [2, 3]),
        { label: 'node 1', cells: restarted.map((read, side) => restartedCell(read, writes[side])) },
      ],
    )
    explain(stage, {
      ours:
        'the event was committed together with the row (outbox), and every node asks Postgres for new events ' +
        'several times within 2 s. It does not depend on a message.',
      naive:
        'DEL and PUBLISH died with the process. The other nodes keep the old value until it expires, and a new ' +
        'process gets it from Redis.',
    })
  },
}

function restartedCell(read: Read | undefined, write: Commit | undefined): Cell {
  if (!read || !write) return { text: '✖ no answer after its restart', tone: 'bad' }
  return read.version >= write.version
    ? { text: `✔ ${read.name}, after its restart`, tone: 'good' }
    : { text: `✖ ${read.name}, even after its restart`, tone: 'bad' }
}
