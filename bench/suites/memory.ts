import { type Bench, type Contestant, compare } from '../comparison.js'
import { rowOf } from '../row.js'
import type { Suite } from '../suite.js'

const module = new URL('../contestants/memory.js', import.meta.url).href

export const memory: Suite = {
  name: 'memory',
  about: 'bytes of an entry in L1, of a million',
  async run(bench: Bench) {
    const contestants = (value: string): Contestant[] => [
      { name: 'lru-cache with ttl', role: 'limit', module, open: 'openLruCache', settings: { value } },
      { name: 'aftercommit', role: 'ours', module, open: 'openOurs', settings: { value } },
    ]
    const plan = { figure: 'perEntry', unit: 'bytes', better: 'lower' } as const
    const users = await compare(bench, contestants('user'), 1)
    const items = await compare(bench, contestants('item'), 1)
    return [
      rowOf('memory', users, {
        ...plan,
        work: 'Memory of an L1 entry, a user as GET /users/:id answers it',
        goal: { against: 'limit', ratio: 1.25 },
      }),
      rowOf('memory', items, { ...plan, work: 'Memory of an L1 entry, an object of three fields' }),
    ]
  },
}
