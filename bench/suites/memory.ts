import { type Bench, type Contestant, compare } from '../comparison.js'
import { rowOf } from '../row.js'
import type { Suite } from '../suite.js'

const module = new URL('../contestants/memory.js', import.meta.url).href
const hitRatio = new URL('../contestants/hit-ratio.js', import.meta.url).href

export const memory: Suite = {
  name: 'memory',
  about: 'bytes of an entry in L1, of a million; hits where not all of them fit',
  async run(bench: Bench) {
    const contestants = (value: string): Contestant[] => [
      { name: 'lru-cache with ttl', role: 'limit', module, open: 'openLruCache', settings: { value } },
      { name: 'aftercommit', role: 'ours', module, open: 'openOurs', settings: { value } },
    ]
    const plan = { figure: 'perEntry', unit: 'bytes', better: 'lower' } as const
    const users = await compare(bench, contestants('user'), 1)
    const items = await compare(bench, contestants('item'), 1)
    const asked = (once: boolean): Contestant[] => [
      { name: 'lru-cache', role: 'peer', module: hitRatio, open: 'openLruCache', settings: { once } },
      { name: 'aftercommit', role: 'ours', module: hitRatio, open: 'openOurs', settings: { once } },
    ]
    const hits = { figure: 'percent', unit: '%', better: 'higher', aheadOfPeers: true } as const
    const again = await compare(bench, asked(false), 1)
    const besideOnce = await compare(bench, asked(true), 1)
    return [
      rowOf('memory', again, { ...hits, work: 'Hits, zipf over 100 k keys, room for a tenth of them' }),
      rowOf('memory', besideOnce, { ...hits, work: 'The same beside as many keys that are asked for once' }),
      rowOf('memory', users, {
        ...plan,
        work: 'Memory of an L1 entry, a user as GET /users/:id answers it',
        goal: { against: 'limit', ratio: 1.25 },
      }),
      rowOf('memory', items, { ...plan, work: 'Memory of an L1 entry, an object of three fields' }),
    ]
  },
}
