import { type Bench, type Contestant, compare } from '../comparison.js'
import { rowOf } from '../row.js'
import type { Suite } from '../suite.js'

const module = new URL('../contestants/l2.js', import.meta.url).href
const peers = new URL('../contestants/l2-peers.js', import.meta.url).href

export const l2: Suite = {
  name: 'l2',
  about: 'hits in Redis, 64 at a time; commands for a hit and a miss',
  async run(bench: Bench) {
    const everyPeer: Contestant[] = [
      { name: 'cacheable', open: 'openCacheable' },
      { name: 'cache-manager', open: 'openCacheManager' },
      { name: 'layered-loader', open: 'openLayeredLoader' },
      { name: 'BentoCache', open: 'openBentoCache' },
      { name: 'async-cache-dedupe', open: 'openAsyncCacheDedupe' },
    ].map(({ name, open }) => ({ name, role: 'peer', module: peers, open }))
    const hits = await compare(bench, [
      { name: 'ioredis with auto-pipelining', role: 'limit', module, open: 'openIoredis' },
      { name: 'aftercommit', role: 'ours', module, open: 'openOurs' },
      ...everyPeer,
    ])
    const commands = await compare(
      bench,
      [{ name: 'aftercommit', role: 'ours', module, open: 'openCommandCount' }],
      1,
    )
    const perRead = { unit: 'commands', better: 'lower' } as const
    return [
      rowOf('l2', hits, {
        work: 'L2 hit, concurrency 64',
        figure: 'perSecond',
        unit: '/s',
        better: 'higher',
        goal: { against: 'limit', ratio: 0.85 },
        aheadOfPeers: true,
      }),
      rowOf('l2', commands, {
        ...perRead,
        work: 'Commands for a hit in L2',
        figure: 'perHit',
        bound: { atMost: 1 },
      }),
      rowOf('l2', commands, {
        ...perRead,
        work: 'Commands for a miss, its write included',
        figure: 'perMissAlone',
        bound: { atMost: 2 },
      }),
      rowOf('l2', commands, {
        ...perRead,
        work: 'Commands for a miss of which one node loads, lock and write included',
        figure: 'perMiss',
        bound: { atMost: 4 },
      }),
    ]
  },
}
