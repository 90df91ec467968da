import { randomUUID } from 'node:crypto'
import { expect, test } from '@jest/globals'
import { declareCache } from '../../../src/kernel/cache/caches.js'
import type { HybridCache } from '../../../src/kernel/cache/hybrid-cache.js'
import type { ServiceModule } from '../../../src/kernel/cqrs/module.js'
import type { Node } from '../../../src/node.js'
import { modules } from '../../../src/service-modules.js'
import { overEveryTopology } from '../../support/cache-cluster.js'
import { ask, messagesAfter, newCacheInStep, type OnAllNodes, untilInL2 } from '../../support/cache-reads.js'
import { CountedLoads, FailingLoads, originIsDown } from '../../support/counted-loads.js'
import { Gate } from '../../support/gate.js'
import { startTestNode } from '../../support/test-node.js'
import { until } from '../../support/until.js'

/** What each key carries. */
const tagsOf: Record<string, string[]> = { a: ['t1'], b: ['t2'], c: ['t1', 't2'], d: ['t3'], e: [] }
const keys = Object.keys(tagsOf)
const safe = { failSafe: true, failSafeThrottleMs: 0 }

overEveryTopology('tags and clear', (cluster, { tiers, nodeCount }) => {
  const node = (index: number) => cluster().nodes.at(index) as Node

  /** On every node, all keys are loaded, each with its tags. */
  async function fill(caches: OnAllNodes<string>, some = keys): Promise<void> {
    for (const cache of caches) {
      for (const key of some) await cache.getOrCreate(key, async () => 'old', { tags: tagsOf[key] ?? [] })
    }
    if (tiers === 'L1 only') return
    for (const cache of caches) for (const key of some) await untilInL2(cache, key)
  }

  /** What the nodes still have in either tier. */
  async function left(caches: readonly HybridCache<string>[]): Promise<string[]> {
    const found = await Promise.all(
      caches.map(async (cache) => {
        const own: string[] = []
        for (const key of keys) if ((await cache.get(key)) !== undefined) own.push(key)
        return own.join('')
      }),
    )
    return [...new Set(found)]
  }

  test('removing one tag, or several, removes what carries any of them from both tiers of all nodes', async () => {
    const caches = await newCacheInStep<string>(cluster())
    await fill(caches)
    expect(await left(caches)).toEqual(['abcde'])
    await caches[0].removeByTag('t1')
    await cluster().inStep()
    expect(await left(caches)).toEqual(['bde'])
    await fill(caches)
    await caches.at(-1)!.removeByTag('t2', 't3')
    await cluster().inStep()
    expect(await left(caches)).toEqual(['ae'])
  })

  test.each(['a third cache', 'all of them'])(
    'a tag is removed from every cache, asked through %s',
    async (through) => {
      const caches = await newCacheInStep<string>(cluster())
      const others = await newCacheInStep<string>(cluster())
      await fill(caches)
      await fill(others)
      const [third] = cluster().newCache()
      const asked = through === 'all of them' ? node(0).parts.caches : third!
      await asked.removeByTag('t1')
      await cluster().inStep()
      for (const some of [caches, others]) expect(await left(some)).toEqual(['bde'])
    },
  )

  test('what was created after a removal stays', async () => {
    const caches = await newCacheInStep<string>(cluster())
    await fill(caches)
    for (let round = 0; round < 3; round++) {
      await caches[0].removeByTag('t1', 't2', 't3')
      await cluster().inStep()
      expect(await left(caches)).toEqual(['e'])
      await fill(caches)
      expect(await left(caches)).toEqual(['abcde'])
      await cluster().inStep()
      expect(await left(caches)).toEqual(['abcde'])
    }
  })

  test('tags that the load decides count like any other', async () => {
    const caches = await newCacheInStep<string>(cluster())
    for (const cache of caches) {
      await cache.getOrCreate('a', async ({ tag }) => {
        tag('of the value')
        return 'old'
      })
    }
    await caches[0].removeByTag('of the value')
    await cluster().inStep()
    for (const cache of caches) expect(await cache.get('a')).toBeUndefined()
  })

  test.each(['before', 'after'])(
    'a removal in the middle of a load, %s the load has decided on the tag, is not undone by its end',
    async (when) => {
      const caches = await newCacheInStep<string>(cluster())
      const gate = new Gate()
      let loads = 0
      const reading = caches[0].getOrCreate('a', async ({ tag }) => {
        if (when === 'after') tag('of the value')
        loads++
        await gate.opened
        if (when === 'before') tag('of the value')
        return 'old'
      })
      await until('the load is under way', () => loads === 1)
      await caches.at(-1)!.removeByTag('of the value')
      await cluster().inStep()
      gate.open()
      expect(await reading).toBe('old')
      for (const cache of caches) expect(await cache.get('a')).toBeUndefined()
      for (const cache of caches) expect(await cache.getOrCreate('a', async () => 'new')).toBe('new')
    },
  )

  if (tiers !== 'L2 only' && nodeCount === 1) {
    test('removing a tag of twenty thousand entries touches none of them, and all are gone', async () => {
      const maxEntries = 30_000
      const caches = await newCacheInStep<string>(cluster(), { maxEntries })
      const many = Array.from({ length: 20_000 }, (_, index) => `key ${index}`)
      let loaded = 0
      const loadMissing = async (keys: readonly string[]) => {
        loaded += keys.length
        return new Map(keys.map((key) => [key, 'value']))
      }
      async function readAll(): Promise<void> {
        for (let from = 0; from < many.length; from += 1_000)
          await caches[0].getMany(many.slice(from, from + 1_000), loadMissing, { tags: ['of very many'] })
      }
      await readAll()
      await readAll()
      expect(loaded).toBe(20_000)
      await caches[0].removeByTag('of very many')
      await cluster().inStep()
      // Nothing was looked for: what was removed makes room when it is asked for, or when room is needed.
      expect(caches[0].inMemory.entries).toBe(20_000)
      expect(many.filter((key) => caches[0].peek(key) !== undefined)).toEqual([])
      await readAll()
      expect(loaded).toBe(40_000)
    })
  }

  test('expiring a tag leaves what carries it to fail-safe, removing it does not', async () => {
    const caches = await newCacheInStep<string>(cluster(), { ...safe, allowInvalidated: true })
    const { load } = new FailingLoads()
    await fill(caches)
    await caches[0].expireByTag('t1')
    await cluster().inStep()
    expect(await left(caches)).toEqual(['bde'])
    for (const [index, cache] of caches.entries()) {
      const answer = await ask<string>(node(index), cache, 'a', load)
      expect(answer).toEqual({ value: 'old', staleness: 'expired' })
    }
    await node(0).parts.caches.expireByTag('t2')
    await cluster().inStep()
    expect(await left(caches)).toEqual(['de'])
    expect(await ask<string>(node(0), caches[0], 'b', load)).toEqual({ value: 'old', staleness: 'expired' })
    await caches[0].removeByTag('t1')
    await cluster().inStep()
    for (const cache of caches) {
      for (const key of ['a', 'c']) await expect(cache.getOrCreate(key, load)).rejects.toThrow(originIsDown)
    }
  })

  test('more tags than a read can compare are refused by an error that names cache and key', async () => {
    const [cache] = await newCacheInStep<string>(cluster())
    const tags = Array.from({ length: 65 }, (_, index) => `t${index}`)
    const refusal = new RangeError(`${cache.name}: more than 64 tags on "the key"`)
    const load = async () => 'value'
    await expect(cache.getOrCreate('the key', load, { tags })).rejects.toThrow(refusal)
    await expect(cache.getOrCreate('the key', load, { tagsOf: () => tags })).rejects.toThrow(refusal)
    const [one = '', ...others] = tags
    const both = { tags: [one], tagsOf: () => others }
    await expect(cache.getOrCreate('the key', load, both)).rejects.toThrow(refusal)
    const stamp = cache.capture()
    await expect(cache.set('the key', 'value', { stamp, tags })).rejects.toThrow(refusal)
    expect(await cache.get('the key')).toBeUndefined()
    expect(await cache.getOrCreate('the key', load, { tags: others })).toBe('value')
  })

  test('more tags than that, decided by the load, are refused as well', async () => {
    const [cache] = await newCacheInStep<string>(cluster())
    const tags = Array.from({ length: 65 }, (_, index) => `t${index}`)
    const reading = cache.getOrCreate('the key', async (context) => {
      context.tag(...tags)
      return 'value'
    })
    await expect(reading).rejects.toThrow(new RangeError(`${cache.name}: more than 64 tags on "the key"`))
  })

  if (tiers !== 'L1 only' && nodeCount === 3) {
    test('a node that starts after a removal does not serve what L2 still has of it', async () => {
      const things = declareCache<string>({ name: `things-${randomUUID()}` })
      const module: ServiceModule = { name: 'things', caches: [things] }
      const start = async (): Promise<Node> => {
        const started = await startTestNode(cluster().database, { offered: [...modules, module] })
        await until('Redis is connected', () => started.parts.redis?.status === 'ready')
        return started
      }
      const early = await start()
      let late: Node | undefined
      try {
        const cache = early.parts.caches.of(things)
        await cache.getOrCreate('kept', async () => 'kept', { tags: ['stays'] })
        await cache.getOrCreate('removed', async () => 'old', { tags: ['goes'] })
        await untilInL2(cache, 'removed')
        await cache.removeByTag('goes')
        late = await start()
        const own = late.parts.caches.of(things)
        expect(await own.get('kept')).toBe('kept')
        expect(await own.get('removed')).toBeUndefined()
        // It was there to be found, and was rejected.
        expect(own.statistics.fenced).toBe(1)
        expect(await own.getOrCreate('removed', async () => 'new')).toBe('new')
      } finally {
        await late?.stop()
        await early.stop()
      }
    })
  }

  test('clearing one cache leaves the others, clearing all of them leaves none', async () => {
    const caches = await newCacheInStep<string>(cluster())
    const others = await newCacheInStep<string>(cluster())
    await fill(caches)
    await fill(others)
    await caches[0].clear()
    await cluster().inStep()
    expect(await left(caches)).toEqual([''])
    expect(await left(others)).toEqual(['abcde'])
    await fill(caches)
    expect(await left(caches)).toEqual(['abcde'])
    await node(-1).parts.caches.clear()
    await cluster().inStep()
    expect(await left(caches)).toEqual([''])
    expect(await left(others)).toEqual([''])
  })

  test.each(['one cache', 'all caches'])(
    'what a clear of %s keeps for fail-safe is answered, marked, while loads fail; without, nothing is',
    async (which) => {
      const caches = await newCacheInStep<string>(cluster(), { ...safe, allowInvalidated: true })
      const clear = (options = {}) =>
        which === 'one cache' ? caches[0].clear(options) : node(0).parts.caches.clear(options)
      const { load } = new FailingLoads()
      await fill(caches)
      await clear({ keepFailSafe: true })
      await cluster().inStep()
      expect(await left(caches)).toEqual([''])
      for (const [index, cache] of caches.entries()) {
        const answer = await ask<string>(node(index), cache, 'a', load)
        expect(answer).toEqual({ value: 'old', staleness: 'expired' })
      }
      await clear()
      await cluster().inStep()
      for (const cache of caches) await expect(cache.getOrCreate('a', load)).rejects.toThrow(originIsDown)
    },
  )

  test('a clear in the middle of a load keeps its value out', async () => {
    const caches = await newCacheInStep<string>(cluster())
    const loads = new CountedLoads()
    const gate = new Gate()
    const reading = caches[0].getOrCreate('a', loads.heldBy(gate))
    await until('the load is under way', () => loads.count === 1)
    await caches.at(-1)!.clear()
    await cluster().inStep()
    gate.open()
    expect(await reading).toBe('load 1')
    expect(await left(caches)).toEqual([''])
  })

  test('clears that are repeated, or arrive again out of order, take nothing that came after the last', async () => {
    const caches = await newCacheInStep<string>(cluster())
    await fill(caches)
    const from = node(0).parts.applied.position
    await Promise.all(caches.flatMap((cache) => [cache.clear(), cache.clear({ keepFailSafe: true })]))
    await cluster().inStep()
    expect(await left(caches)).toEqual([''])
    await fill(caches)
    const clears = await messagesAfter(cluster().database, from)
    expect(clears.length).toBe(caches.length * 2)
    for (const { parts } of cluster().nodes) {
      for (const message of clears.toReversed()) {
        parts.subscriber.hint({ epoch: parts.applied.epoch, head: message.position, messages: [message] })
      }
    }
    await cluster().inStep()
    expect(await left(caches)).toEqual(['abcde'])
  })
})
