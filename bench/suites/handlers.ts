import { type Bench, compare } from '../comparison.js'
import { rowOf } from '../row.js'
import type { Suite } from '../suite.js'

const own = new URL('../contestants/handlers.js', import.meta.url).href
const queues = new URL('../contestants/job-queues.js', import.meta.url).href

export const handlers: Suite = {
  name: 'handlers',
  about: 'a durable handler that does nothing, over a backlog of events',
  async run(bench: Bench) {
    const measurement = await compare(bench, [
      { name: 'aftercommit', role: 'ours', module: own, open: 'openOurs', settings: {} },
      { name: 'graphile-worker', role: 'peer', module: queues, open: 'openGraphileWorker', settings: {} },
      { name: 'pg-boss', role: 'peer', module: queues, open: 'openPgBoss', settings: {} },
    ])
    return [
      rowOf('handlers', measurement, {
        work: 'durable handler without work, one process',
        figure: 'perSecond',
        unit: 'events/s',
        better: 'higher',
        aheadOfPeers: true,
      }),
    ]
  },
}
