import { expect, test } from '@jest/globals'
import type { EntryOptions } from '../../../src/kernel/cache/entry-options.js'
import type { HybridCache } from '../../../src/kernel/cache/hybrid-cache.js'
import type { Node } from '../../../src/node.js'
import { overEveryTopology } from '../../support/cache-cluster.js'
import { l2Reads, newCacheInStep, untilInL2 } from '../../support/cache-reads.js'
import { CountedLoads } from '../../support/counted-loads.js'
import { until } from '../../support/until.js'

overEveryTopology('flags', (cluster, { tiers, nodeCount }) => {
  const node = (index: number) => cluster().nodes.at(index) as Node
  const hasL1 = tiers !== 'L2 only'
  const hasL2 = tiers !== 'L1 only'

  /** What Redis holds of a cache, by key. */
  async function keysInL2(cache: HybridCache): Promise<string[]> {
    const redis = node(0).parts.redis
    // A write of another key goes over the same connection, after all that came before.
    await cache.getOrCreate('marker', async () => 'marker', { entry: { skipL2Write: false } })
    await until('L2 has the marker', async () => (await redis!.keys(`*:${cache.name}.*:marker`)).length > 0)
    const names = await redis!.keys(`*:${cache.name}.*`)
    const keys = names.filter((name) => !name.includes(':lock-')).map((name) => name.split(':').at(-1)!)
    return keys.filter((key) => key !== 'marker').sort()
  }

  /** The same flag, once as the cache's own and once as the call's. */
  const waysToSay = ['by its cache', 'by the call'] as const
  async function said(how: (typeof waysToSay)[number], flags: Partial<EntryOptions>) {
    const caches = await newCacheInStep<string>(cluster(), how === 'by its cache' ? flags : {})
    return { caches, cache: caches[0], options: how === 'by the call' ? { entry: flags } : {} }
  }

  if (hasL1) {
    test.each(waysToSay)('skipL1Read, said %s: memory is not asked, and still written', async (how) => {
      const { cache, options } = await said(how, { skipL1Read: true })
      const loads = new CountedLoads()
      await cache.getOrCreate('a', loads.load, options)
      if (hasL2) await untilInL2(cache, 'a')
      expect(cache.inMemory.entries).toBe(1)
      const answer = await cache.getOrCreate('a', loads.load, options)
      expect(answer).toBe(hasL2 ? 'load 1' : 'load 2')
      expect(cache.statistics.l1Hits).toBe(0)
      // What it has found or loaded is there for those who do not skip.
      expect(await cache.getOrCreate('a', loads.load, { entry: { skipL1Read: false } })).toBe(answer)
      expect(cache.statistics.l1Hits).toBe(1)
    })

    test.each(waysToSay)('skipL1Write, said %s: memory is asked, and not written', async (how) => {
      const { caches, cache, options } = await said(how, { skipL1Write: true })
      const loads = new CountedLoads()
      await cache.getOrCreate('a', loads.load, options)
      expect(cache.inMemory.entries).toBe(0)
      if (hasL2) {
        for (const one of caches) {
          await until('L2 has it', async () => {
            const found = await one.get('a', options)
            expect(one.inMemory.entries).toBe(0)
            return found === 'load 1'
          })
        }
      }
      await cache.getOrCreate('a', loads.load, { entry: { skipL1Write: false } })
      const hits = cache.statistics.l1Hits
      await cache.getOrCreate('a', loads.load, options)
      expect(cache.statistics.l1Hits).toBe(hits + 1)
    })

    test('skipL1Read by the cache holds for peek, too', async () => {
      const [cache] = await newCacheInStep(cluster(), { skipL1Read: true })
      await cache.getOrCreate('a', async () => 'value')
      expect(cache.peek('a')).toBeUndefined()
    })
  }

  if (hasL2) {
    test.each(waysToSay)('skipL2Read, said %s: L2 is not asked, and still written', async (how) => {
      const { caches, cache, options } = await said(how, { skipL2Read: true })
      const loads = new CountedLoads()
      const before = cluster().nodes.map(l2Reads)
      expect(await cache.getOrCreate('a', loads.load, options)).toBe('load 1')
      expect(await keysInL2(cache)).toEqual(['a'])
      const reader = caches.at(-1)!
      const answer = await reader.getOrCreate('a', loads.load, {
        entry: { skipL1Read: true, ...options.entry },
      })
      expect(answer).toBe('load 2')
      expect(
        await reader.getMany(['a'], async () => new Map([['a', 'many']]), {
          entry: { skipL1Read: true, ...options.entry },
        }),
      ).toEqual(new Map([['a', 'many']]))
      if (how === 'by its cache') expect(cluster().nodes.map(l2Reads)).toEqual(before)
      expect(caches.map(({ statistics }) => statistics.l2Hits)).toEqual(caches.map(() => 0))
    })

    test.each(waysToSay)('skipL2Write, said %s: L2 is asked, and not written', async (how) => {
      const { caches, cache, options } = await said(how, { skipL2Write: true })
      const loads = new CountedLoads()
      await cache.getOrCreate('a', loads.load, options)
      await cache.getMany(['b', 'c'], async (keys) => new Map(keys.map((key) => [key, 'many'])), options)
      await cache.set('d', 'set', { stamp: cache.capture(), ...options })
      expect(await keysInL2(cache)).toEqual([])
      expect(await cache.get('a')).toBe(hasL1 ? 'load 1' : undefined)
      if (nodeCount > 1) expect(await caches[1]!.get('a')).toBeUndefined()
      // What somebody else has written there is found.
      await cache.getOrCreate('e', loads.load, { entry: { skipL2Write: false } })
      for (const one of caches) {
        await until('it is found', async () => {
          return (await one.get('e', { entry: { skipL1Read: true, ...options.entry } })) !== undefined
        })
      }
    })
  }

  test('with all four, a cache holds nothing, and each read loads', async () => {
    const [cache] = await newCacheInStep(cluster(), {
      skipL1Read: true,
      skipL1Write: true,
      skipL2Read: true,
      skipL2Write: true,
    })
    const loads = new CountedLoads()
    for (const number of [1, 2, 3]) expect(await cache.getOrCreate('a', loads.load)).toBe(`load ${number}`)
    expect(cache.inMemory.entries).toBe(0)
    if (hasL2) expect(await keysInL2(cache)).toEqual([])
  })

  test('what is set by hand goes where the flags let it', async () => {
    const [cache] = await newCacheInStep(cluster())
    await cache.set('a', 'set', { stamp: cache.capture(), entry: { skipL1Write: true } })
    await cache.set('b', 'set', { stamp: cache.capture(), entry: { skipL2Write: true } })
    expect(cache.peek('a')).toBeUndefined()
    expect(cache.peek('b')).toBe(hasL1 ? 'set' : undefined)
    if (hasL2) expect(await keysInL2(cache)).toEqual(['a'])
  })

  test('a job that reads everything once pushes nothing out of memory', async () => {
    const [cache] = await newCacheInStep(cluster(), { maxEntries: 3 })
    const loads = new CountedLoads()
    for (const key of ['x', 'y', 'z']) await cache.getOrCreate(key, loads.load)
    const held = ['x', 'y', 'z'].map((key) => cache.peek(key))
    for (let index = 0; index < 50; index++)
      await cache.getOrCreate(`${index}`, loads.load, { entry: { skipL1Write: true } })
    expect(['x', 'y', 'z'].map((key) => cache.peek(key))).toEqual(held)
    expect(cache.inMemory).toMatchObject({ entries: hasL1 ? 3 : 0, evictions: 0 })
  })
})
