import { type Bench, type Contestant, compare } from '../comparison.js'
import { rowOf } from '../row.js'
import type { Suite } from '../suite.js'

const module = new URL('../contestants/stampede.js', import.meta.url).href

function contestant(name: string, role: Contestant['role'], member: string): Contestant {
  return { name, role, module, open: 'openStampede', settings: { member } }
}

export const stampede: Suite = {
  name: 'stampede',
  about: 'a cold key that four processes with a thousand callers each ask for at once',
  async run(bench: Bench) {
    const measurement = await compare(bench, [
      contestant('aftercommit', 'ours', 'openOurNode'),
      contestant('layered-loader', 'peer', 'openLayeredLoader'),
      contestant('BentoCache', 'peer', 'openBentoCache'),
      contestant('cacheable', 'peer', 'openCacheable'),
      contestant('cache-manager', 'peer', 'openCacheManager'),
      contestant('async-cache-dedupe', 'peer', 'openAsyncCacheDedupe'),
    ])
    const work = 'cold key, 4 processes × 1,000 callers'
    const plan = { better: 'lower', unit: 'ms' } as const
    return [
      rowOf('stampede', measurement, {
        ...plan,
        work: `${work}: loads`,
        figure: 'loads',
        unit: '',
        bound: { atMost: 1 },
        aheadOfPeers: true,
      }),
      rowOf('stampede', measurement, {
        ...plan,
        work: `${work}: what is added to a waiting process, beyond a round trip to Redis`,
        figure: 'beyondRoundTripMs',
        bound: { atMost: 10 },
      }),
      rowOf('stampede', measurement, {
        ...plan,
        work: `${work}: until all are answered, of a load of 50 ms`,
        figure: 'answeredMs',
      }),
    ]
  },
}
