import { type Bench, type Contestant, compare } from '../comparison.js'
import { rowOf } from '../row.js'
import type { Suite } from '../suite.js'

const own = new URL('../contestants/backlog.js', import.meta.url).href
const outbox = new URL('../contestants/pg-transactional-outbox.js', import.meta.url).href
const queues = new URL('../contestants/job-queues.js', import.meta.url).href

export const backlog: Suite = {
  name: 'backlog',
  about: 'numbering and publishing what has piled up in the outbox, by one process and by four at once',
  async run(bench: Bench) {
    const contestants = (workers: number): Contestant[] => [
      { name: 'UPDATE … RETURNING loop', role: 'limit', module: own, open: 'openRaw', settings: { workers } },
      { name: 'aftercommit', role: 'ours', module: own, open: 'openOurs', settings: { workers } },
      {
        name: 'graphile-worker',
        role: 'peer',
        module: queues,
        open: 'openGraphileWorker',
        settings: { workers, publish: true },
      },
      {
        name: 'pg-boss',
        role: 'peer',
        module: queues,
        open: 'openPgBoss',
        settings: { workers, publish: true },
      },
    ]
    const plan = { figure: 'perSecond', unit: 'rows/s', better: 'higher', aheadOfPeers: true } as const
    const goal = { against: 'limit', ratio: 0.7 } as const
    const one = await compare(bench, [
      ...contestants(1),
      {
        name: 'pg-transactional-outbox',
        role: 'peer',
        module: outbox,
        open: 'openTransactionalOutbox',
        // Each look for more goes through its whole backlog: 200,000 would take it many minutes.
        settings: { count: 5_000 },
      },
    ])
    const four = await compare(bench, contestants(4))
    return [
      rowOf('backlog', one, { ...plan, goal, work: 'outbox backlog, one dispatcher' }),
      rowOf('backlog', four, { ...plan, goal, work: 'outbox backlog, four dispatchers at once' }),
    ]
  },
}
