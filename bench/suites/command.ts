import { type Bench, type Contestant, compare } from '../comparison.js'
import { rowOf } from '../row.js'
import type { Suite } from '../suite.js'

const module = new URL('../contestants/command.js', import.meta.url).href

const limit: Contestant = { name: 'the statements by pg', role: 'limit', module, open: 'openRaw' }
const ours: Contestant = { name: 'aftercommit', role: 'ours', module, open: 'openOurs' }

export const command: Suite = {
  name: 'command',
  about: 'a command from validation to COMMIT',
  async run(bench: Bench) {
    const unnumbered = await compare(bench, [
      limit,
      ours,
      { name: 'TypeORM save', role: 'peer', module, open: 'openTypeOrmSave' },
      { name: 'TypeORM find, update, insert', role: 'peer', module, open: 'openTypeOrmUpdate' },
    ])
    const numbered = await compare(bench, [limit, { ...ours, settings: { numbered: true } }])
    const rate = { figure: 'perSecond', unit: '/s', better: 'higher' } as const
    return [
      rowOf('command', unnumbered, {
        ...rate,
        work: 'one command: load, update, outbox, COMMIT; 16 at a time',
        goal: { against: 'limit', ratio: 0.9 },
        aheadOfPeers: true,
      }),
      rowOf('command', numbered, {
        ...rate,
        work: 'the same, numbered and published in the background',
        goal: { against: 'limit', ratio: 0.8 },
      }),
      rowOf('command', unnumbered, {
        work: 'statements a command',
        figure: 'statements',
        unit: 'statements',
        better: 'lower',
        // Not exactly 1: a new connection is asked once whether it leads to a primary.
        goal: { against: 'limit', ratio: 1.01 },
        aheadOfPeers: true,
      }),
    ]
  },
}
