import { createHmac } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { Redis } from 'ioredis'
import { NotInTierError } from '../../../src/kernel/cache/cache-errors.js'
import type { CacheSettings } from '../../../src/kernel/cache/caches.js'
import type { HybridCache } from '../../../src/kernel/cache/hybrid-cache.js'
import { Consistency } from '../../../src/kernel/journal/consistency.js'
import { HintCodec } from '../../../src/kernel/journal/hint.js'
import type { Node } from '../../../src/node.js'
import { type CacheCluster, startCacheCluster } from '../../support/cache-cluster.js'
import {
  ask,
  briefAndSafe,
  l2Reads,
  messagesAfter,
  newCacheInStep,
  untilExpired,
  untilInL2,
} from '../../support/cache-reads.js'
import { CountedLoads, FailingLoads } from '../../support/counted-loads.js'
import { redisUrl } from '../../support/fresh-database.js'
import { Gate } from '../../support/gate.js'
import { rareChecks } from '../../support/test-node.js'
import { until } from '../../support/until.js'

type OnThree = readonly [HybridCache<string>, HybridCache<string>, HybridCache<string>]

async function newCache(cluster: CacheCluster, settings: CacheSettings = {}): Promise<OnThree> {
  return (await newCacheInStep<string>(cluster, settings)) as unknown as OnThree
}

describe('three nodes over one Redis', () => {
  let cluster: Awaited<ReturnType<typeof startCacheCluster>>

  beforeAll(async () => {
    // What one node hears of another it hears by hints, unless a test asks for a check.
    cluster = await startCacheCluster('L1 and L2', 3, rareChecks)
  })
  afterAll(() => cluster.stop())

  const node = (index: number) => cluster.nodes[index] as Node
  const neverLoads = new FailingLoads().load

  /** A cache that holds a value under `a` in both tiers of every node. */
  async function filled(settings = {}, value = 'old'): Promise<OnThree> {
    const caches = await newCache(cluster, settings)
    for (const cache of caches) await cache.getOrCreate('a', async () => value)
    for (const cache of caches) await untilInL2(cache, 'a')
    return caches
  }

  /** What each tier of each node would serve. */
  async function everywhere(caches: readonly HybridCache<string>[], key = 'a'): Promise<string[]> {
    const found: string[] = []
    for (const [index, cache] of caches.entries()) {
      const { check, applied } = node(index).parts
      for (const tier of ['l1', 'l2'] as const) {
        const consistency = new Consistency(check, applied, undefined, tier)
        const reading = cache.getOrCreate(key, neverLoads, { consistency })
        found.push(
          await reading.catch((error: unknown) => {
            if (error instanceof NotInTierError) return 'nothing'
            throw error
          }),
        )
      }
    }
    return found
  }

  const inAllTiers = (value: string) => Array.from({ length: 6 }, () => value)

  /** After it, everybody loads anew, and sees the same. */
  async function expectClean(caches: OnThree, key = 'a'): Promise<void> {
    expect(await everywhere(caches, key)).toEqual(inAllTiers('nothing'))
    for (const cache of caches) expect(await cache.getOrCreate(key, async () => 'new')).toBe('new')
  }

  test('a value that is set takes the place of the other nodes’ copies, and nobody loads it', async () => {
    const caches = await filled()
    await caches[0].set('a', 'new', { stamp: caches[0].capture() })
    for (const cache of caches) {
      await until('it has come for the new value', async () => {
        const found = await cache.getOrCreate('a', neverLoads)
        expect(['old', 'new']).toContain(found)
        return found === 'new'
      })
    }
    expect(await everywhere(caches)).toEqual(inAllTiers('new'))
  })

  test('an invalidation makes a node that has not got the key ask L2 for nothing', async () => {
    const caches = await newCache(cluster)
    for (const key of ['a', 'b', 'c', 'd'])
      await caches[0].getOrCreate(key, async () => 'old', { tags: ['t'] })
    const before = [1, 2].map((index) => l2Reads(node(index)))
    await caches[0].remove('a')
    await caches[0].expire('b')
    await caches[0].set('c', 'new', { stamp: caches[0].capture() })
    await caches[0].removeByTag('t')
    await caches[0].clear()
    await cluster.change({ keys: ['d'] })
    expect([1, 2].map((index) => node(index).parts.applied.position)).toEqual([
      node(0).parts.applied.position,
      node(0).parts.applied.position,
    ])
    expect([1, 2].map((index) => l2Reads(node(index)))).toEqual(before)
  })

  test('each message is published once in the cluster: nobody repeats what it has heard', async () => {
    const caches = await newCache(cluster)
    const from = node(0).parts.applied.position
    const codec = new HintCodec(node(0).parts.installation)
    const { channel } = codec
    const listener = new Redis(redisUrl())
    const heard: string[] = []
    listener.on('message', (_channel, text: string) => heard.push(text))
    await listener.subscribe(channel)
    try {
      for (const cache of caches) await cache.remove('a')
      const writes = caches.flatMap((cache) => [
        cache.remove('a'),
        cache.set('b', 'new', { stamp: cache.capture() }),
        cache.clear(),
      ])
      await Promise.all(writes)
      await cluster.inStep()
      await cluster.inStep()
      // Behind whatever the nodes have published, each on the same connection.
      for (const { parts } of cluster.nodes) await parts.redis?.publish(channel, 'end')
      await until('everything was heard', () => heard.filter((text) => text === 'end').length === 3)
    } finally {
      listener.disconnect()
    }
    const positions = heard
      .filter((text) => text !== 'end')
      .flatMap((text) => codec.decode(text)?.messages ?? [])
      .map(({ position }) => position)
    const committed = (await messagesAfter(cluster.database, from)).map(({ position }) => position)
    expect(committed.length).toBe(12)
    expect(positions.toSorted((a, b) => a - b)).toEqual(committed)
  })

  test('two caches stay apart, whatever is done to the same key in one of them', async () => {
    const caches = await filled()
    const others = await filled({}, 'kept')
    await caches[0].set('a', 'new', { stamp: caches[0].capture() })
    await caches[1].expire('a')
    await caches[2].remove('a')
    await caches[0].clear()
    await cluster.inStep()
    expect(await everywhere(others)).toEqual(inAllTiers('kept'))
    expect(await everywhere(caches)).toEqual(inAllTiers('nothing'))
  })

  test.each(['its own', 'the present'])(
    'an entry of the first wire format, under %s kind of name, is a miss and is never misread',
    async (whose) => {
      const caches = await filled()
      const { namespace, secret } = node(0).parts.installation
      const redis = new Redis(redisUrl())
      try {
        const [present = ''] = await redis.keys(`${namespace}:v4:*:${caches[0].name}.*:a`)
        expect(present).not.toBe('')
        await caches[0].remove('a')
        await cluster.inStep()
        const name = whose === 'its own' ? present.replace(':v4:', ':v1:') : present
        const body = JSON.stringify([node(0).parts.applied.position, [], 'of the past'])
        const mac = createHmac('sha256', secret).update(`${name}\n${body}`).digest('base64url')
        await until('the removed entry is gone', async () => (await redis.exists(present)) === 0)
        await redis.set(name, mac + body)
        expect(await everywhere(caches)).toEqual(inAllTiers('nothing'))
        expect(await caches[1].getOrCreate('a', async () => 'new')).toBe('new')
        await untilInL2(caches[1], 'a')
        expect(await caches[2].getOrCreate('a', neverLoads)).toBe('new')
        await redis.del(name)
      } finally {
        redis.disconnect()
      }
    },
  )

  test('a removal by a node that never held the key works on all', async () => {
    const caches = await newCache(cluster)
    for (const cache of caches.slice(0, 2)) await cache.getOrCreate('a', async () => 'old')
    await caches[2].remove('a')
    await cluster.inStep()
    await expectClean(caches)
  })

  test('of two values set at once on two nodes, no node is left with another than the rest', async () => {
    const caches = await newCache(cluster)
    for (let round = 0; round < 20; round++) {
      const set = (index: number) => caches[index]!.set('a', `${index}`, { stamp: caches[index]!.capture() })
      await Promise.all([set(0), set(1)])
      await cluster.inStep()
      const left = new Set(await everywhere(caches))
      left.delete('nothing')
      // None at all, if the second was read before the first was set.
      expect(left.size).toBeLessThanOrEqual(1)
      const [origin = 'of the origin'] = left
      for (const cache of caches) expect(await cache.getOrCreate('a', async () => origin)).toBe(origin)
    }
  })

  test('of two values set one after the other on two nodes, all end with the second', async () => {
    const caches = await filled()
    for (let round = 0; round < 10; round++) {
      await caches[0].set('a', `first ${round}`, { stamp: caches[0].capture() })
      await cluster.inStep()
      await caches[1].set('a', `second ${round}`, { stamp: caches[1].capture() })
      await cluster.inStep()
      await untilInL2(caches[2], 'a')
      for (const cache of caches) expect(await cache.getOrCreate('a', neverLoads)).toBe(`second ${round}`)
    }
  })

  test('a value that was read before an invalidation is kept nowhere, whoever sets it after', async () => {
    const caches = await filled()
    const stamp = caches[1].capture()
    await cluster.change({ keys: ['a'] }, node(2))
    await caches[1].set('a', 'read too early', { stamp })
    await cluster.inStep()
    await expectClean(caches)
  })

  describe('an invalidation is not undone by the end of', () => {
    test('an eager refresh that was under way', async () => {
      const caches = await filled({ l1TtlMs: 60_000, l2TtlMs: 60_000, eagerRefreshThreshold: 0.001 })
      const loads = new CountedLoads()
      const gate = new Gate()
      await until('a refresh is under way', async () => {
        await caches[0].getOrCreate('a', loads.heldBy(gate))
        return loads.count === 1
      })
      await cluster.change({ keys: ['a'] }, node(1))
      gate.open()
      await until('what it brought was refused', () => caches[0].statistics.fenced > 0)
      await expectClean(caches)
    })

    test('a load that goes on in the background', async () => {
      const caches = await newCache(cluster, { ...briefAndSafe, softTimeoutMs: 10 })
      await caches[0].getOrCreate('a', async () => 'old')
      await untilExpired(caches[0], 'a')
      const loads = new CountedLoads()
      const gate = new Gate()
      const entry = { l1TtlMs: 60_000, l2TtlMs: 60_000 }
      const answer = await ask(node(0), caches[0], 'a', loads.heldBy(gate), { entry })
      expect(answer).toEqual({ value: 'old', staleness: 'expired' })
      await until('the load has begun', () => loads.count === 1)
      await cluster.change({ keys: ['a'] }, node(1))
      gate.open()
      await until('what it brought was refused', () => caches[0].statistics.fenced > 0)
      await expectClean(caches)
    })

    test('a load of several keys, of which the others are kept', async () => {
      const caches = await newCache(cluster)
      const gate = new Gate()
      let loading = false
      const reading = caches[0].getMany(['a', 'b'], async (keys) => {
        loading = true
        await gate.opened
        return new Map(keys.map((key) => [key, 'old']))
      })
      await until('the load is under way', () => loading)
      await cluster.change({ keys: ['a'] }, node(1))
      gate.open()
      expect(await reading).toEqual(
        new Map([
          ['a', 'old'],
          ['b', 'old'],
        ]),
      )
      await expectClean(caches)
      for (const cache of caches) expect(await cache.getOrCreate('b', neverLoads)).toBe('old')
    })
  })
})
