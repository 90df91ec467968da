import { type Bench, type Contestant, compare } from '../comparison.js'
import { rowOf } from '../row.js'
import type { Suite } from '../suite.js'

const module = new URL('../contestants/l1.js', import.meta.url).href
const peers = new URL('../contestants/l1-peers.js', import.meta.url).href

const manyKeys = 100_000

export const l1: Suite = {
  name: 'l1',
  about: 'hits in memory: one key, many keys, with tags',
  async run(bench: Bench) {
    const floor = (keyCount: number): Contestant => ({
      name: 'await of Map.get',
      role: 'limit',
      module,
      open: 'openAsyncFloor',
      settings: { keyCount },
    })
    const ours = (settings: Contestant['settings'], name = 'aftercommit'): Contestant => ({
      name,
      role: 'ours',
      module,
      open: 'openOurs',
      settings: { ...settings },
    })
    const everyPeer = (keyCount: number): Contestant[] =>
      [
        { name: 'layered-loader', open: 'openLayeredLoader', slow: false },
        { name: 'async-cache-dedupe', open: 'openAsyncCacheDedupe', slow: true },
        { name: 'cache-manager', open: 'openCacheManager', slow: true },
        { name: 'BentoCache', open: 'openBentoCache', slow: true },
        { name: 'cacheable', open: 'openCacheable', slow: true },
      ].map(({ name, open, slow }) => ({
        name,
        role: 'peer',
        module: peers,
        open,
        settings: { keyCount, slow },
      }))
    const plan = { figure: 'perSecond', unit: '/s', better: 'higher' } as const

    const one = await compare(bench, [floor(1), ours({ keyCount: 1 }), ...everyPeer(1)])
    const peeked = await compare(bench, [
      {
        name: 'lru-cache with ttl',
        role: 'limit',
        module,
        open: 'openLruCache',
        settings: { keyCount: 1 },
      },
      ours({ keyCount: 1, synchronous: true }),
    ])
    const many = await compare(bench, [floor(manyKeys), ours({ keyCount: manyKeys }), ...everyPeer(manyKeys)])
    const untagged: Contestant = { ...ours({ keyCount: manyKeys }, 'without tags'), role: 'limit' }
    const tagged = await compare(bench, [untagged, ours({ keyCount: manyKeys, tags: 4 }, 'with four tags')])
    const { hostNode } = bench
    const onHost =
      hostNode && [floor(1), ours({ keyCount: 1 })].map((each) => ({ ...each, node: hostNode.path }))
    return [
      rowOf('l1', one, {
        ...plan,
        work: 'L1 hit, one key, awaited',
        goal: { against: 'limit', ratio: 0.65 },
        aheadOfPeers: true,
      }),
      rowOf('l1', peeked, {
        ...plan,
        work: 'L1 peek, one key, synchronous',
        goal: { against: 'limit', ratio: 0.5 },
      }),
      rowOf('l1', many, {
        ...plan,
        work: 'L1 hit, zipf over 100 k keys, awaited',
        goal: { against: 'limit', ratio: 0.8 },
        aheadOfPeers: true,
      }),
      rowOf('l1', tagged, {
        ...plan,
        work: 'The same with four tags on each entry',
        goal: { against: 'without tags', ratio: 0.85 },
      }),
      ...(onHost
        ? [
            rowOf('l1', await compare(bench, onHost), {
              ...plan,
              work: `L1 hit, one key, awaited, on the host's Node ${hostNode.version}`,
            }),
          ]
        : []),
    ]
  },
}
