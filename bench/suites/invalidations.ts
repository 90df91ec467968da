import { type Bench, type Contestant, compare } from '../comparison.js'
import { rowOf } from '../row.js'
import type { Suite } from '../suite.js'

const module = new URL('../contestants/invalidations.js', import.meta.url).href

export const invalidations: Suite = {
  name: 'invalidations',
  about: 'removal of a tag, a flush, and invalidations applied while reads go on',
  async run(bench: Bench) {
    const ours = (open: string, settings = {}): Contestant[] => [
      { name: 'aftercommit', role: 'ours', module, open, settings },
    ]
    const removing = (what: 'tag' | 'flush', entries: number): Contestant[] => [
      ...ours('openRemoval', { what, entries }),
      {
        name: 'as many loads, nothing removed',
        role: 'limit',
        module,
        open: 'openRemoval',
        settings: { what: 'nothing', entries },
      },
    ]
    const longest = { figure: 'longestMs', unit: 'ms', better: 'lower', bound: { atMost: 5 } } as const
    const fewRounds = Math.min(3, bench.rounds)
    const tag = await compare(bench, removing('tag', 100_000), fewRounds)
    const flush = await compare(bench, removing('flush', 1_000_000), fewRounds)
    const applying = await compare(bench, ours('openApplying'))
    return [
      rowOf('invalidations', tag, {
        ...longest,
        work: 'removeByTag of 100 k entries in L1: longest block of the event loop',
      }),
      rowOf('invalidations', flush, {
        ...longest,
        work: 'Flush of 1 M entries in L1: longest block of the event loop',
      }),
      rowOf('invalidations', applying, {
        work: 'Invalidations applied by one node, in batches of 2,000, while reads go on',
        figure: 'perSecond',
        unit: '/s',
        better: 'higher',
        bound: { atLeast: 200_000 },
      }),
      rowOf('invalidations', applying, {
        work: 'p99 of those reads',
        figure: 'readP99Ms',
        unit: 'ms',
        better: 'lower',
        bound: { atMost: 5 },
      }),
    ]
  },
}
