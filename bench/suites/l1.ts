import { type Bench, type Contestant, compare } from '../comparison.js'
import { rowOf } from '../row.js'
import type { Suite } from '../suite.js'

const module = new URL('../contestants/l1.js', import.meta.url).href

export const l1: Suite = {
  name: 'l1',
  about: 'hits in memory: one key, many keys, with tags',
  async run(bench: Bench) {
    const contestants = (keyCount: number): Contestant[] => [
      { name: 'await of Map.get', role: 'limit', module, open: 'openAsyncFloor', settings: { keyCount } },
      { name: 'aftercommit', role: 'ours', module, open: 'openOurs', settings: { keyCount } },
    ]
    const plan = { figure: 'perSecond', unit: '/s', better: 'higher' } as const
    const one = await compare(bench, contestants(1))
    return [
      rowOf('l1', one, {
        ...plan,
        work: 'L1 hit, one key, awaited',
        goal: { against: 'limit', ratio: 0.65 },
        aheadOfPeers: true,
      }),
    ]
  },
}
