import { describe, expect, test } from '@jest/globals'
import { declareCache } from '../../../src/kernel/cache/caches.js'
import type { HybridCache } from '../../../src/kernel/cache/hybrid-cache.js'
import type { Node } from '../../../src/node.js'
import { overEveryTopology } from '../../support/cache-cluster.js'
import { newCacheInStep, untilExpired, untilInL2 } from '../../support/cache-reads.js'
import { CountedLoads } from '../../support/counted-loads.js'
import { startSimulatedNode } from '../../support/simulated-node.js'
import { until } from '../../support/until.js'

const outOfRange: readonly (readonly [name: string, value: number])[] = [
  ...['l1TtlMs', 'l2TtlMs', 'failSafeMaxDurationMs'].flatMap((name) =>
    [0, 0.5, -1, Number.NaN, Number.POSITIVE_INFINITY, 366 * 86_400_000].map(
      (value) => [name, value] as const,
    ),
  ),
  ...[
    'jitterMs',
    'failSafeThrottleMs',
    'softTimeoutMs',
    'hardTimeoutMs',
    'l2SoftTimeoutMs',
    'l2HardTimeoutMs',
    'clusterWaitMs',
    'sizeBytes',
  ].flatMap((name) => [-1, Number.NaN].map((value) => [name, value] as const)),
  ...[-0.1, 1, 1.5, Number.NaN].map((value) => ['eagerRefreshThreshold', value] as const),
]

/** Milliseconds until Redis forgets each entry of a cache. */
async function timesToLiveInL2(node: Node, cache: HybridCache): Promise<number[]> {
  const redis = node.parts.redis!
  const names = await redis.keys(`*:${cache.name}.*`)
  const entries = names.filter((name) => !name.includes(':lock-'))
  return Promise.all(entries.map((name) => redis.pttl(name)))
}

overEveryTopology('expirations', (cluster, { tiers, nodeCount }) => {
  const node = (index: number) => cluster().nodes.at(index) as Node

  test('a value is loaded again after its time, on every node', async () => {
    const caches = await newCacheInStep(cluster(), { l1TtlMs: 80, l2TtlMs: 80 })
    const loads = new CountedLoads()
    const first = await Promise.all(caches.map((cache) => cache.getOrCreate('a', loads.load)))
    for (const cache of caches) await untilExpired(cache, 'a')
    for (const cache of caches) expect(first).not.toContain(await cache.getOrCreate('a', loads.load))
  })

  test('a value lives no longer in memory than in the cluster, however long its time in memory', async () => {
    const caches = await newCacheInStep(cluster(), { l1TtlMs: 600_000, l2TtlMs: 80 })
    for (const cache of caches) await cache.getOrCreate('a', async () => 'value')
    for (const cache of caches) await untilExpired(cache, 'a')
  })

  test('what memory has for a moment only, L2 still has', async () => {
    const [cache] = await newCacheInStep(cluster(), { l1TtlMs: 60, l2TtlMs: 60_000 })
    const loads = new CountedLoads()
    await cache.getOrCreate('a', loads.load)
    if (tiers !== 'L1 only') await untilInL2(cache, 'a')
    await until('memory has it no longer', () => cache.peek('a') === undefined)
    expect(await cache.getOrCreate('a', loads.load)).toBe(tiers === 'L1 only' ? 'load 2' : 'load 1')
  })

  test('times to live of a call come before those of its cache, for that value alone', async () => {
    const [cache] = await newCacheInStep(cluster())
    const loads = new CountedLoads()
    await cache.getOrCreate('long', loads.load)
    await cache.getOrCreate('brief', loads.load, { entry: { l1TtlMs: 60, l2TtlMs: 60 } })
    if (tiers !== 'L1 only') await untilInL2(cache, 'long')
    await untilExpired(cache, 'brief')
    expect(await cache.get('long')).toBe('load 1')
  })

  test('with jitter, what was loaded together expires one after the other', async () => {
    const [cache] = await newCacheInStep(cluster(), { l1TtlMs: 5_000, l2TtlMs: 5_000, jitterMs: 4_999 })
    const keys = Array.from({ length: 100 }, (_, index) => `${index}`)
    await cache.getMany(keys, async (missing) => new Map(missing.map((key) => [key, 'value'])))
    const left = async (): Promise<number> => {
      const values = await Promise.all(keys.map((key) => cache.get(key)))
      return values.filter((value) => value !== undefined).length
    }
    await until('some have expired, and some have not', async () => {
      const count = await left()
      return count > 5 && count < 95
    })
    await until('all have expired', async () => (await left()) === 0)
  })

  if (tiers === 'L1 only' && nodeCount === 1) {
    test.each(outOfRange)('%s: %d is refused by a RangeError that names it', async (name, value) => {
      const refusal = expect.objectContaining({ name: 'RangeError', message: expect.stringContaining(name) })
      const declared = declareCache({ name: `refused-${name}`, [name]: value })
      expect(() => node(0).parts.caches.add(declared)).toThrow(RangeError)
      expect(() => node(0).parts.caches.add(declared)).toThrow(name)
      const [cache] = cluster().newCache()
      const loads = new CountedLoads()
      const entry = { [name]: value }
      await expect(cache!.getOrCreate('a', loads.load, { entry })).rejects.toEqual(refusal)
      await expect(cache!.getMany(['a'], async () => new Map(), { entry })).rejects.toEqual(refusal)
      await expect(cache!.set('a', 'value', { stamp: cache!.capture(), entry })).rejects.toEqual(refusal)
      expect(loads.count).toBe(0)
    })

    test.each(['maxEntries', 'maxBytes', 'maxEntryBytes', 'maxKeyLength'])(
      'a limit that is none, as for %s, is refused by a RangeError that names it',
      (name) => {
        for (const value of [-1, Number.NaN]) {
          const declared = declareCache({ name: `refused-${name}-${value}`, [name]: value })
          expect(() => node(0).parts.caches.add(declared)).toThrow(
            expect.objectContaining({ name: 'RangeError', message: expect.stringContaining(name) }),
          )
        }
      },
    )
  }

  if (tiers === 'L1 only') return

  test('L2 forgets a value by itself when its time is over', async () => {
    const [cache] = await newCacheInStep(cluster(), { l1TtlMs: 80, l2TtlMs: 80 })
    await cache.getOrCreate('a', async () => 'value')
    await until('Redis holds none of it', async () => (await timesToLiveInL2(node(0), cache)).length === 0)
  })

  test('jitter shortens lives in L2, each by its own part, and lengthens none', async () => {
    const [cache] = await newCacheInStep(cluster(), { l2TtlMs: 60_000, jitterMs: 50_000 })
    for (let index = 0; index < 60; index++) await cache.getOrCreate(`${index}`, async () => 'value')
    let lives: number[] = []
    await until('L2 has them all', async () => {
      lives = await timesToLiveInL2(node(0), cache)
      return lives.length === 60
    })
    expect(Math.max(...lives)).toBeLessThanOrEqual(60_000)
    expect(Math.min(...lives)).toBeGreaterThan(0)
    expect(Math.max(...lives) - Math.min(...lives)).toBeGreaterThan(15_000)
  })

  if (nodeCount === 1 || tiers !== 'L1 and L2') return

  test('a copy taken from L2 late in its life ends when the original does', async () => {
    const caches = await newCacheInStep(cluster(), { l1TtlMs: 600_000, l2TtlMs: 800 })
    const [first, second] = caches
    const loads = new CountedLoads()
    await until('another node has a copy', async () => {
      await first.getOrCreate('a', loads.load)
      return (await second!.get('a')) !== undefined
    })
    const value = second!.peek('a')
    await until('the copy has ended', () => second!.peek('a') !== value)
    await until('the original has, too', async () => (await first.get('a')) !== value)
  })

  test('the time in memory that was decided where a value was loaded holds for copies on other nodes', async () => {
    const [first, second] = await newCacheInStep(cluster(), { l1TtlMs: 600_000, l2TtlMs: 600_000 })
    const loads = new CountedLoads()
    await first.getOrCreate('a', loads.load, { entry: { l1TtlMs: 60 } })
    await untilInL2(second!, 'a')
    expect(await second!.getOrCreate('a', loads.load)).toBe('load 1')
    const before = second!.statistics.l2Hits
    await until('the copy is over', () => second!.peek('a') === undefined)
    expect(await second!.getOrCreate('a', loads.load)).toBe('load 1')
    expect(second!.statistics.l2Hits).toBe(before + 1)
  })
})

describe('expirations by a clock of the test’s', () => {
  const ttlMs = 1_000
  const keys = Array.from({ length: 500 }, (_, index) => `${index}`)

  async function filled(jitterMs: number) {
    const node = await startSimulatedNode({ entry: { l1TtlMs: ttlMs, jitterMs } })
    for (const key of keys) await node.cache.getOrCreate(key, async () => 'value')
    const left = () => keys.filter((key) => node.cache.peek(key) !== undefined).length
    return { node, left }
  }

  test('without jitter, all expire at their time and none before it', async () => {
    const { node, left } = await filled(0)
    node.clock.advance(ttlMs - 1)
    expect(left()).toBe(keys.length)
    node.clock.advance(1)
    expect(left()).toBe(0)
  })

  test('jitter spreads expirations over its length, and brings none before or after that', async () => {
    const { node, left } = await filled(500)
    node.clock.advance(500)
    expect(left()).toBe(keys.length)
    for (const part of [0.8, 0.6, 0.4, 0.2]) {
      node.clock.advance(100)
      expect(left() / keys.length).toBeGreaterThan(part - 0.1)
      expect(left() / keys.length).toBeLessThan(part + 0.1)
    }
    node.clock.advance(100)
    expect(left()).toBe(0)
  })

  test('jitter longer than the life leaves a life', async () => {
    const { left } = await filled(1_000_000)
    expect(left()).toBe(keys.length)
  })
})
