import { expect, test } from '@jest/globals'
import type { CacheSettings } from '../../../src/kernel/cache/caches.js'
import type { HybridCache } from '../../../src/kernel/cache/hybrid-cache.js'
import type { Factory } from '../../../src/kernel/cache/load-context.js'
import type { Node } from '../../../src/node.js'
import { overEveryTopology } from '../../support/cache-cluster.js'
import { newCacheInStep, untilInL2 } from '../../support/cache-reads.js'
import { CountedLoads, FailingLoads } from '../../support/counted-loads.js'
import { Gate, settle } from '../../support/gate.js'
import { until } from '../../support/until.js'

/** Due for a refresh 60 ms after its load, and past its time not within a test. */
const soonDue = {
  l1TtlMs: 60_000,
  l2TtlMs: 60_000,
  eagerRefreshThreshold: 0.001,
  clusterWaitMs: 60_000,
}

overEveryTopology('eager refresh', (cluster, { tiers, nodeCount }) => {
  const node = (index: number) => cluster().nodes.at(index) as Node

  /** A cache that holds `load 1` under `a` in each tier of each node. */
  async function filled(loads: CountedLoads, settings: CacheSettings = {}) {
    const caches = await newCacheInStep<string>(cluster(), { ...soonDue, ...settings })
    await caches[0].getOrCreate('a', loads.load)
    if (tiers !== 'L1 only') for (const cache of caches) await untilInL2(cache, 'a')
    return caches
  }

  /** Many hits at once, again and again, until they have brought something about. */
  async function hitUntil(
    what: string,
    cache: HybridCache<string>,
    load: Factory<string>,
    condition: () => boolean,
  ): Promise<Set<string>> {
    const seen = new Set<string>()
    await until(what, async () => {
      const hits = Array.from({ length: 20 }, () => cache.getOrCreate('a', load))
      for (const value of await Promise.all(hits)) seen.add(value)
      return condition()
    })
    return seen
  }

  if (tiers === 'L2 only') {
    test('does not happen without memory, as there is no hit that it could follow', async () => {
      const loads = new CountedLoads()
      const [cache] = await filled(loads, { l1TtlMs: 300, l2TtlMs: 300 })
      const seen = await hitUntil('the value is loaded again', cache, loads.load, () => loads.count > 1)
      expect(seen).toEqual(new Set(['load 1', 'load 2']))
      expect(cache.statistics.eagerRefreshes).toBe(0)
    })
    return
  }

  test('a hit past the threshold is answered at once by what there is, and starts one refresh', async () => {
    const loads = new CountedLoads()
    const [cache] = await filled(loads)
    const gate = new Gate()
    const load = () => cache.getOrCreate('a', loads.heldBy(gate))
    await until('a refresh has begun', async () => (await load()) === 'load 1' && loads.count === 2)
    for (let round = 0; round < 5; round++) {
      expect(new Set(await Promise.all(Array.from({ length: 50 }, load)))).toEqual(new Set(['load 1']))
      await settle()
    }
    expect(loads.count).toBe(2)
    expect(cache.statistics).toMatchObject({ misses: 1, eagerRefreshes: 1 })
    gate.open()
    await until('the hits are answered by the new value', async () => (await load()) === 'load 2')
  })

  test('a hit before the threshold starts none', async () => {
    const loads = new CountedLoads()
    const [cache] = await filled(loads, { eagerRefreshThreshold: 0.99 })
    for (let round = 0; round < 20; round++) {
      const hits = Array.from({ length: 50 }, () => cache.getOrCreate('a', loads.load))
      expect(new Set(await Promise.all(hits))).toEqual(new Set(['load 1']))
    }
    expect(loads.count).toBe(1)
    expect(cache.statistics.eagerRefreshes).toBe(0)
  })

  test('with a threshold of 0 there is none, however late the hit', async () => {
    const loads = new CountedLoads()
    const [cache] = await filled(loads, { l1TtlMs: 400, l2TtlMs: 400, eagerRefreshThreshold: 0 })
    await hitUntil('the value is loaded again', cache, loads.load, () => loads.count > 1)
    // Loaded in somebody's way, as its time was over.
    expect(cache.statistics).toMatchObject({ misses: expect.any(Number), eagerRefreshes: 0 })
    expect(cache.statistics.misses).toBeGreaterThan(1)
  })

  test('a call says otherwise than its cache', async () => {
    const loads = new CountedLoads()
    const [cache] = await newCacheInStep<string>(cluster(), { ...soonDue, eagerRefreshThreshold: 0 })
    const options = { entry: { eagerRefreshThreshold: 0.001 } }
    await until('it has been refreshed', async () => {
      await cache.getOrCreate('a', loads.load, options)
      return cache.statistics.eagerRefreshes === 1
    })
    expect(cache.statistics.misses).toBe(1)
  })

  test('a refresh says of itself that it is one', async () => {
    const loads = new CountedLoads()
    const [cache] = await filled(loads)
    const told: boolean[] = []
    const stop = node(0).parts.caches.events.on('loaded', ({ eager }) => told.push(eager))
    await hitUntil('it has been refreshed', cache, loads.load, () => told.length > 0)
    stop()
    expect(told[0]).toBe(true)
  })

  test('an invalidation in its middle keeps its value out of both tiers, on every node', async () => {
    const loads = new CountedLoads()
    const caches = await filled(loads)
    const [cache] = caches
    const gate = new Gate()
    await hitUntil('a refresh has begun', cache, loads.heldBy(gate), () => loads.count === 2)
    await cluster().change({ keys: ['a'] }, node(-1))
    gate.open()
    await until('the refresh has ended', () => cache.statistics.fenced > 0)
    for (const one of caches) {
      expect(one.peek('a')).toBeUndefined()
      expect(await one.get('a')).toBeUndefined()
    }
    const after = new Set<string>()
    for (const one of caches) after.add(await one.getOrCreate('a', loads.load))
    expect(after).not.toContain('load 1')
    expect(after).not.toContain('load 2')
  })

  test('one that began before a write is joined by nobody who comes after it', async () => {
    const loads = new CountedLoads()
    // The lock of the cluster falls to whoever needs a later load; without it, nothing is waited for at all.
    const [cache] = await filled(loads)
    const gate = new Gate()
    await hitUntil('a refresh has begun', cache, loads.heldBy(gate), () => loads.count === 2)
    await cluster().change({ keys: ['a'] })
    expect(await cache.getOrCreate('a', loads.load)).toBe('load 3')
    gate.open()
    await until('the refresh has ended', () => cache.statistics.fenced > 0)
    expect(await cache.getOrCreate('a', loads.load)).toBe('load 3')
  })

  test('one that fails disturbs nobody, and is tried again', async () => {
    const loads = new CountedLoads()
    const [cache] = await filled(loads, { failSafeThrottleMs: 20 })
    const failing = new FailingLoads()
    const seen = await hitUntil('it has failed', cache, failing.load, () => failing.count > 1)
    expect(seen).toEqual(new Set(['load 1']))
    const then = await hitUntil('one has succeeded', cache, loads.load, () => cache.peek('a') !== 'load 1')
    expect([...then][0]).toBe('load 1')
    expect(cache.peek('a')).toBe('load 2')
    expect(cache.statistics).toMatchObject({ misses: 1, staleServed: 0 })
  })

  test('one that fails is not tried again before failSafeThrottleMs is over', async () => {
    const loads = new CountedLoads()
    const [cache] = await filled(loads, { failSafeThrottleMs: 600_000 })
    const failing = new FailingLoads()
    await hitUntil('it has failed', cache, failing.load, () => failing.count > 0)
    // Another key is due again and again meanwhile.
    const others = new CountedLoads()
    await until('another key was refreshed three times', async () => {
      await cache.getOrCreate('b', others.load)
      expect(await cache.getOrCreate('a', failing.load)).toBe('load 1')
      return others.count > 3
    })
    expect(failing.count).toBe(1)
  })

  test('one that fails is told of as a load that nobody waited for', async () => {
    const [cache] = await filled(new CountedLoads(), { failSafeThrottleMs: 20 })
    const told: unknown[] = []
    const stop = node(0).parts.caches.events.on('loadFailed', ({ key, background }) => {
      told.push({ key, background })
    })
    await hitUntil('it has failed', cache, new FailingLoads().load, () => told.length > 0)
    stop()
    expect(told[0]).toEqual({ key: 'a', background: true })
  })

  if (nodeCount === 1) return

  test('another node is not in its way, and no node shows what it was given by none', async () => {
    const loads = new CountedLoads()
    const caches = await filled(loads)
    for (const cache of caches) await cache.getOrCreate('a', loads.load)
    for (const cache of caches) {
      await hitUntil('it has been refreshed', cache, loads.load, () => {
        const value = cache.peek('a')
        return value !== undefined && value !== 'load 1'
      })
    }
  })

  if (tiers === 'L1 only') return

  test('in the cluster, many hits on every node bring about one load at a time, and all take over what it brings', async () => {
    const loads = new CountedLoads()
    const caches = await filled(loads, { eagerRefreshThreshold: 0.01 })
    for (const cache of caches) expect(await cache.getOrCreate('a', loads.load)).toBe('load 1')
    const gate = new Gate()
    const load = loads.heldBy(gate)
    const hitAll = async (): Promise<Set<string>> => {
      const hits = caches.flatMap((cache) => Array.from({ length: 20 }, () => cache.getOrCreate('a', load)))
      return new Set(await Promise.all(hits))
    }
    await until('a refresh has begun', async () => {
      expect(await hitAll()).toEqual(new Set(['load 1']))
      return loads.count > 1
    })
    // A key that was loaded later is due now: so were the hits on the other nodes.
    const others = new CountedLoads()
    await until('a later key was refreshed', async () => {
      expect(await hitAll()).toEqual(new Set(['load 1']))
      await caches.at(-1)!.getOrCreate('b', others.load)
      return others.count > 1
    })
    expect(loads.count).toBe(2)
    gate.open()
    await until('all nodes have the new value', async () => {
      const seen = await hitAll()
      return seen.size === 1 && seen.has('load 2')
    })
    expect(loads.count).toBe(2)
  })
})
