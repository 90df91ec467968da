import { type Bench, compare } from '../comparison.js'
import { rowOf } from '../row.js'
import type { Suite } from '../suite.js'

const module = new URL('../contestants/start.js', import.meta.url).href

export const start: Suite = {
  name: 'start',
  about: 'from nothing to ready',
  async run(bench: Bench) {
    const measured = await compare(bench, [
      { name: 'Fastify alone', role: 'limit', module, open: 'openFastify' },
      { name: 'aftercommit', role: 'ours', module, open: 'openOurs' },
    ])
    return [
      rowOf('start', measured, {
        work: 'start of a node until it is ready, migrated database',
        figure: 'ms',
        unit: 'ms',
        better: 'lower',
        bound: { atMost: 1_000 },
      }),
    ]
  },
}
