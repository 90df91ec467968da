import { expect, test } from '@jest/globals'
import type { LoadContext } from '../../../src/kernel/cache/load-context.js'
import type { Node } from '../../../src/node.js'
import { overEveryTopology } from '../../support/cache-cluster.js'
import { newCacheInStep, untilExpired, untilInL2 } from '../../support/cache-reads.js'
import { CountedLoads } from '../../support/counted-loads.js'
import { until } from '../../support/until.js'

const long = { l1TtlMs: 600_000, l2TtlMs: 600_000 }
const brief = { l1TtlMs: 60, l2TtlMs: 60 }

overEveryTopology('adaptive options', (cluster, { tiers, nodeCount }) => {
  const node = (index: number) => cluster().nodes.at(index) as Node
  const hasL1 = tiers !== 'L2 only'
  const hasL2 = tiers !== 'L1 only'

  /** A load that decides something through its context. */
  function deciding(decide: (context: LoadContext) => void, loads = new CountedLoads()) {
    return async (context: LoadContext): Promise<string> => {
      const value = await loads.load()
      decide(context)
      return value
    }
  }

  test('a load shortens the life of its own value, and of no other', async () => {
    const [cache] = await newCacheInStep(cluster(), long)
    await cache.getOrCreate('other', async () => 'other')
    await cache.getOrCreate(
      'a',
      deciding(({ adapt }) => adapt(brief)),
    )
    await untilExpired(cache, 'a')
    if (hasL2) await untilInL2(cache, 'other')
    expect(await cache.get('other')).toBe('other')
  })

  test('a load lengthens the life of its own value', async () => {
    const [cache] = await newCacheInStep(cluster(), brief)
    const adapted = await cache.getOrCreate(
      'a',
      deciding(({ adapt }) => adapt(long)),
    )
    await cache.getOrCreate('other', async () => 'other')
    await untilExpired(cache, 'other')
    if (hasL2) await untilInL2(cache, 'a')
    expect(await cache.get('a')).toBe(adapted)
  })

  test('a load decides bit by bit, and the later word counts', async () => {
    const [cache] = await newCacheInStep(cluster(), long)
    await cache.getOrCreate(
      'a',
      deciding(({ adapt }) => {
        adapt({ l1TtlMs: 600_000 })
        adapt({ l2TtlMs: 600_000, jitterMs: 0 })
        adapt({ l2TtlMs: 60 })
      }),
    )
    await untilExpired(cache, 'a')
  })

  test('tags that a load adds remove its value, on every node', async () => {
    const caches = await newCacheInStep(cluster())
    const tag = `tag-of-${caches[0].name}`
    const load = async ({ tag: add }: LoadContext) => {
      add('another', tag)
      add('a third')
      return 'value'
    }
    for (const cache of caches) await cache.getOrCreate('a', load, { tags: ['a fourth'] })
    for (const cache of caches) await cache.getOrCreate('untagged', async () => 'untagged')
    await cluster().change({ tags: [tag] }, node(-1))
    for (const cache of caches) expect(await cache.get('a')).toBeUndefined()
    if (hasL2) await untilInL2(caches[0], 'untagged')
    expect(await caches[0].get('untagged')).toBe('untagged')
  })

  test('more tags than a value may have are refused, whoever adds them', async () => {
    const [cache] = await newCacheInStep(cluster())
    const tags = Array.from({ length: 65 }, (_, index) => `tag-${index}`)
    const refusal = new RangeError(`${cache.name}: more than 64 tags on "a"`)
    const load = async () => 'value'
    await expect(cache.getOrCreate('a', load, { tags })).rejects.toThrow(refusal)
    await expect(cache.getOrCreate('a', load, { tagsOf: () => tags })).rejects.toThrow(refusal)
    const tagging = deciding(({ tag }) => tag(...tags))
    await expect(cache.getOrCreate('a', tagging)).rejects.toThrow(refusal)
  })

  test('what is not to be stored is answered, and kept nowhere', async () => {
    const [cache, ...others] = await newCacheInStep(cluster())
    const loads = new CountedLoads()
    const load = deciding(({ doNotStore }) => doNotStore(), loads)
    expect(await cache.getOrCreate('a', load)).toBe('load 1')
    for (const one of [cache, ...others]) {
      expect(one.peek('a')).toBeUndefined()
      expect(await one.get('a')).toBeUndefined()
    }
    expect(await cache.getOrCreate('a', load)).toBe('load 2')
    expect(cache.inMemory.entries).toBe(0)
    if (!hasL2) return
    // What is written to L2 later, on the same connection, is there: so would this have been.
    await cache.getOrCreate('b', loads.load)
    await untilInL2(cache, 'b')
    expect(await node(0).parts.redis?.keys(`*:${cache.name}.*:a`)).not.toContainEqual(
      expect.not.stringContaining(':lock-'),
    )
  })

  test('what is not to be stored leaves alone what is stored already', async () => {
    const [cache] = await newCacheInStep(cluster())
    await cache.getOrCreate('a', async () => 'stored')
    if (hasL2) await untilInL2(cache, 'a')
    const skipping = { entry: { skipL1Read: true, skipL2Read: true } }
    const answer = await cache.getOrCreate(
      'a',
      deciding(({ doNotStore }) => doNotStore()),
      skipping,
    )
    expect(answer).toBe('load 1')
    expect(await cache.get('a')).toBe('stored')
  })

  test('the caller’s options and the cache’s defaults are what they were', async () => {
    const [cache] = await newCacheInStep(cluster(), long)
    const entry = Object.freeze({ l1TtlMs: 500_000, skipL2Read: false, clone: false })
    const tags = Object.freeze(['mine'])
    const options = Object.freeze({ entry, tags })
    const before = structuredClone(options)
    const load = deciding(({ adapt, tag, doNotStore, validators }) => {
      adapt({ ...brief, clone: true, skipL1Write: true, skipL2Write: true, sizeBytes: 7 })
      tag('theirs')
      validators({ etag: '"1"' })
      doNotStore()
    })
    for (const key of ['a', 'b', 'c']) await cache.getOrCreate(key, load, options)
    expect(options).toEqual(before)
    const after = await cache.getOrCreate('d', async () => ({ frozen: true }), options)
    expect(Object.isFrozen(after)).toBe(hasL1 || hasL2)
    if (hasL2) await untilInL2(cache, 'd')
    expect(await cache.get('d')).toEqual({ frozen: true })
    // Neither was a tag of one value given to another.
    await cluster().change({ tags: ['theirs'] })
    expect(await cache.get('d')).toEqual({ frozen: true })
  })

  test.each([
    { l1TtlMs: -1 },
    { l2TtlMs: 0 },
    { jitterMs: Number.NaN },
    { failSafeMaxDurationMs: Number.POSITIVE_INFINITY },
    { eagerRefreshThreshold: 1 },
    { sizeBytes: -5 },
  ])('a decision out of range (%j) fails the load, names the option, and stores nothing', async (wrong) => {
    const [cache] = await newCacheInStep(cluster())
    const reading = cache.getOrCreate(
      'a',
      deciding(({ adapt }) => adapt(wrong)),
    )
    await expect(reading).rejects.toThrow(RangeError)
    await expect(reading).rejects.toThrow(Object.keys(wrong)[0])
    expect(await cache.get('a')).toBeUndefined()
  })

  test('a load that keeps its value out of memory does so on every node, for as long as it lives', async () => {
    const caches = await newCacheInStep(cluster())
    const loads = new CountedLoads()
    const load = deciding(({ adapt }) => adapt({ skipL1Write: true }), loads)
    await caches[0].getOrCreate('a', load)
    if (hasL2) for (const cache of caches) await untilInL2(cache, 'a')
    for (const cache of caches) {
      await cache.getOrCreate('a', load)
      expect(cache.peek('a')).toBeUndefined()
    }
    expect(caches.map(({ inMemory }) => inMemory.entries)).toEqual(caches.map(() => 0))
    if (hasL2) expect(loads.count).toBe(1)
  })

  test('a load that keeps its value out of L2 has it in memory alone', async () => {
    const caches = await newCacheInStep(cluster())
    const loads = new CountedLoads()
    const load = deciding(({ adapt }) => adapt({ skipL2Write: true }), loads)
    await caches[0].getOrCreate('a', load)
    if (hasL2) {
      await caches[0].getOrCreate('b', loads.load)
      await untilInL2(caches[0], 'b')
    }
    expect(await caches[0].get('a')).toBe(hasL1 ? 'load 1' : undefined)
    if (nodeCount > 1) expect(await caches[1]!.get('a')).toBeUndefined()
  })

  test('a load that has its value copied for each caller has it so on every node', async () => {
    const caches = await newCacheInStep<{ list: number[] }>(cluster())
    const load = async ({ adapt }: LoadContext<{ list: number[] }>) => {
      adapt({ clone: true })
      return { list: [1] }
    }
    await caches[0].getOrCreate('a', load)
    if (hasL2) for (const cache of caches) await untilInL2(cache, 'a')
    for (const cache of caches) {
      for (let round = 0; round < 2; round++) {
        const mine = await cache.getOrCreate('a', load)
        expect(mine).toEqual({ list: [1] })
        mine.list.push(2)
      }
    }
  })

  if (hasL1) {
    test('a load decides how early its value is refreshed', async () => {
      const [cache] = await newCacheInStep(cluster(), long)
      const loads = new CountedLoads()
      const load = deciding(({ adapt }) => adapt({ eagerRefreshThreshold: 0.0001 }), loads)
      await until('it has been refreshed', async () => {
        await cache.getOrCreate('a', load)
        return cache.statistics.eagerRefreshes > 0
      })
      expect(cache.statistics.misses).toBe(1)
    })
  }
})
