import { getHeapStatistics } from 'node:v8'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import type { LoadContext } from '../../../src/kernel/cache/load-context.js'
import type { Node } from '../../../src/node.js'
import { type CacheCluster, overEveryTopology, startCacheCluster } from '../../support/cache-cluster.js'
import { newCacheInStep, untilInL2 } from '../../support/cache-reads.js'
import { CountedLoads } from '../../support/counted-loads.js'

/** A value of about so many bytes, by any estimate. */
const ofBytes = (bytes: number) => 'a'.repeat(bytes / 2)
const small = async () => ofBytes(100)
const large = async () => ofBytes(10_000)

overEveryTopology('size limits', (cluster, { tiers, nodeCount }) => {
  const node = (index: number) => cluster().nodes.at(index) as Node
  const hasL2 = tiers !== 'L1 only'

  if (tiers === 'L2 only') {
    test('of memory keep nothing out of L2', async () => {
      const caches = await newCacheInStep<string>(cluster(), {
        maxEntries: 1,
        maxBytes: 10,
        maxEntryBytes: 10,
      })
      for (const key of ['a', 'b', 'c']) await caches[0].getOrCreate(key, large)
      for (const key of ['a', 'b', 'c']) for (const cache of caches) await untilInL2(cache, key)
      for (const cache of caches) expect(cache.inMemory).toEqual({ entries: 0, bytes: 0, evictions: 0 })
    })
    return
  }

  test('maxEntries holds, however many are loaded at once', async () => {
    const [cache] = await newCacheInStep<string>(cluster(), { maxEntries: 10 })
    const keys = Array.from({ length: 200 }, (_, index) => `${index}`)
    await Promise.all(keys.map((key) => cache.getOrCreate(key, small)))
    expect(cache.inMemory).toMatchObject({ entries: 10, evictions: 190 })
    await cache.getMany(
      keys.map((key) => `many ${key}`),
      async (missing) => new Map(missing.map((key) => [key, 'value'])),
    )
    expect(cache.inMemory.entries).toBe(10)
  })

  test('what was not asked for again goes first', async () => {
    const [cache] = await newCacheInStep<string>(cluster(), { maxEntries: 3 })
    for (const key of ['a', 'b', 'c']) await cache.getOrCreate(key, small)
    await cache.getOrCreate('a', small)
    await cache.getOrCreate('d', small)
    // To look is a use as well: the one that is gone is looked for last.
    expect(['a', 'c', 'd', 'b'].map((key) => cache.peek(key) !== undefined)).toEqual([
      true,
      true,
      true,
      false,
    ])
  })

  test('maxBytes holds: a large value pushes out several small ones', async () => {
    const [cache] = await newCacheInStep<string>(cluster(), { maxBytes: 12_000 })
    for (let index = 0; index < 50; index++) await cache.getOrCreate(`${index}`, small)
    expect(cache.inMemory).toMatchObject({ entries: 50, evictions: 0 })
    expect(cache.inMemory.bytes).toBeGreaterThan(2_500)
    await cache.getOrCreate('large', large)
    expect(cache.inMemory.bytes).toBeLessThanOrEqual(12_000)
    expect(cache.inMemory.evictions).toBeGreaterThan(5)
    expect(cache.peek('large')).toBe(await large())
    expect(cache.peek('49')).toBe(await small())
    expect(cache.peek('0')).toBeUndefined()
  })

  test.each([
    ['texts', () => ofBytes(2_000)],
    ['objects', () => Array.from({ length: 100 }, (_, index) => ({ index }))],
    ['maps', () => new Map([['a', ofBytes(2_000)]])],
    ['bytes', () => Buffer.alloc(2_000)],
  ])('maxBytes holds for %s', async (_, make) => {
    const [cache] = await newCacheInStep(cluster(), { maxBytes: 10_000 })
    for (let index = 0; index < 30; index++) {
      await cache.getOrCreate(`${index}`, async () => make())
      expect(cache.inMemory.bytes).toBeLessThanOrEqual(10_000)
    }
    expect(cache.inMemory.entries).toBeLessThan(20)
    expect(cache.inMemory.entries).toBeGreaterThan(0)
  })

  test.each(['maxEntryBytes', 'maxBytes'] as const)(
    'a value larger than %s stays out of memory, pushes nothing out of it, and the event says why',
    async (limit) => {
      const caches = await newCacheInStep<string>(cluster(), { [limit]: 2_000 })
      const [cache] = caches
      const told: unknown[] = []
      const stop = node(0).parts.caches.events.on('notStored', (event) => told.push(event))
      await cache.getOrCreate('small', small)
      const loads = new CountedLoads()
      const load = async () => `${await loads.load()} ${ofBytes(10_000)}`
      const answer = await cache.getOrCreate('large', load)
      stop()
      expect(told).toEqual([{ cache: cache.name, key: 'large', tier: 'l1', reason: 'too-large' }])
      expect(cache.inMemory).toMatchObject({ entries: 1, evictions: 0 })
      expect(cache.peek('small')).toBe(await small())
      if (!hasL2) return
      // L2 goes on serving it, to every node.
      for (const one of caches) await untilInL2(one, 'large')
      for (const one of caches) {
        expect(await one.getOrCreate('large', load)).toBe(answer)
        expect(one.peek('large')).toBeUndefined()
      }
      expect(loads.count).toBe(1)
    },
  )

  test('an older value that was small enough is not left in the place of one that is too large', async () => {
    const [cache] = await newCacheInStep<string>(cluster(), { maxEntryBytes: 2_000 })
    await cache.getOrCreate('a', small)
    if (hasL2) await untilInL2(cache, 'a')
    const again = { entry: { skipL1Read: true, skipL2Read: true } }
    expect(await cache.getOrCreate('a', large, again)).toBe(await large())
    expect(cache.peek('a')).toBeUndefined()
    if (hasL2) expect(await cache.get('a')).toBe(await large())
    expect(cache.inMemory.entries).toBe(0)
  })

  test('a size that a call or a load says is believed', async () => {
    const [cache] = await newCacheInStep<string>(cluster(), { maxBytes: 10_000 })
    await cache.getOrCreate('called', small, { entry: { sizeBytes: 3_000 } })
    expect(cache.inMemory.bytes).toBe(3_000)
    const adapting = async ({ adapt }: LoadContext) => {
      adapt({ sizeBytes: 6_000 })
      return small()
    }
    await cache.getOrCreate('adapted', adapting)
    expect(cache.inMemory.bytes).toBe(9_000)
    await cache.getOrCreate('third', small, { entry: { sizeBytes: 3_000 } })
    expect(cache.inMemory).toMatchObject({ entries: 2, bytes: 9_000, evictions: 1 })
  })

  test('a size that a load says is believed wherever its value is copied', async () => {
    const caches = await newCacheInStep<string>(cluster(), { maxEntryBytes: 2_000 })
    const load = async ({ adapt }: LoadContext) => {
      adapt({ sizeBytes: 1_000_000 })
      return small()
    }
    await caches[0].getOrCreate('a', load)
    if (hasL2) for (const cache of caches) await untilInL2(cache, 'a')
    for (const cache of caches) {
      await cache.getOrCreate('a', load)
      expect(cache.inMemory.entries).toBe(0)
    }
  })

  test('what all caches of a node hold is counted, also where no limit of their own asks for it', async () => {
    const [cache] = await newCacheInStep<string>(cluster())
    const before = node(0).parts.caches.inMemory
    await cache.getOrCreate('a', large)
    expect(cache.inMemory).toMatchObject({ entries: 1, evictions: 0 })
    expect(cache.inMemory.bytes).toBeGreaterThan(5_000)
    const { bytes, maxBytes } = node(0).parts.caches.inMemory
    expect(bytes - before.bytes).toBeGreaterThan(cache.inMemory.bytes)
    expect(maxBytes).toBeLessThan(getHeapStatistics().heap_size_limit / 3)
  })

  if (nodeCount === 1 || !hasL2) return

  test('copies from L2 count as what was loaded does', async () => {
    const [first, second] = await newCacheInStep<string>(cluster(), { maxBytes: 12_000 })
    for (const key of ['a', 'b', 'c']) await first.getOrCreate(key, large)
    for (const key of ['a', 'b', 'c']) {
      await untilInL2(second!, key)
      await second!.getOrCreate(key, large)
      expect(second!.inMemory.bytes).toBeLessThanOrEqual(12_000)
    }
    expect(second!.inMemory).toMatchObject({ entries: 1, evictions: 2 })
  })
})

describe('CACHE_MAX_PAYLOAD_BYTES', () => {
  let cluster: (CacheCluster & { stop(): Promise<void> }) | undefined
  beforeAll(async () => {
    cluster = await startCacheCluster('L1 and L2', 2, { CACHE_MAX_PAYLOAD_BYTES: '2000' })
  })
  afterAll(() => cluster?.stop())

  test('a larger payload stays out of L2, is served from memory, and the event says why', async () => {
    const [first, second] = await newCacheInStep<string>(cluster!)
    const told: unknown[] = []
    const stop = cluster!.nodes[0]!.parts.caches.events.on('notStored', (event) => told.push(event))
    const loads = new CountedLoads()
    const load = async () => `${await loads.load()} ${ofBytes(10_000)}`
    const answer = await first.getOrCreate('large', load)
    await first.getOrCreate('small', small)
    await untilInL2(second!, 'small')
    stop()
    expect(told).toEqual([{ cache: first.name, key: 'large', tier: 'l2', reason: 'too-large' }])
    expect(await first.getOrCreate('large', load)).toBe(answer)
    expect(await second!.get('large')).toBeUndefined()
    expect(loads.count).toBe(1)
  })

  test('of many values, only the large ones stay out of L2', async () => {
    const [first, second] = await newCacheInStep<string>(cluster!)
    const values = new Map([
      ['large', await large()],
      ['small', await small()],
    ])
    await first.getMany(['large', 'small'], async () => values)
    await untilInL2(second!, 'small')
    expect(await second!.get('large')).toBeUndefined()
  })
})
