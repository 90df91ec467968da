import { expect, test } from '@jest/globals'
import type { HybridCache } from '../../../src/kernel/cache/hybrid-cache.js'
import type { Node } from '../../../src/node.js'
import { overEveryTopology } from '../../support/cache-cluster.js'
import { l2Reads, newCacheInStep } from '../../support/cache-reads.js'
import { CountedLoads } from '../../support/counted-loads.js'
import { Gate } from '../../support/gate.js'
import { until } from '../../support/until.js'

/** Longer than any test: whoever loads nonetheless has not waited for that. */
const clusterWaitMs = 50_000

overEveryTopology('single flight in the cluster', (cluster, { tiers, nodeCount }) => {
  if (nodeCount === 1) {
    test('costs a node that is alone nothing: it loads, once', async () => {
      const [cache] = await newCacheInStep(cluster(), { clusterWaitMs })
      const loads = new CountedLoads()
      const reads = Array.from({ length: 500 }, () => cache.getOrCreate('a', loads.load))
      expect(new Set(await Promise.all(reads))).toEqual(new Set(['load 1']))
      expect(loads.count).toBe(1)
    })
    return
  }

  /** All nodes but the one that loads, whichever that is, have looked into L2 several times since the call. */
  async function othersAreWaiting(): Promise<void> {
    const before = cluster().nodes.map(l2Reads)
    const waits = (node: Node, index: number) => l2Reads(node) >= (before[index] ?? 0) + 3
    await until('the other nodes wait', () => cluster().nodes.filter(waits).length >= nodeCount - 1)
  }

  const fiveHundred = (cache: HybridCache, load: () => Promise<string>) =>
    Array.from({ length: 500 }, () => cache.getOrCreate('a', load))

  if (tiers === 'L1 only') {
    test('is a single flight of each node where there is no Redis', async () => {
      const caches = await newCacheInStep(cluster(), { clusterWaitMs })
      const loads = new CountedLoads()
      await Promise.all(caches.flatMap((cache) => fiveHundred(cache, loads.load)))
      expect(loads.count).toBe(nodeCount)
    })
    return
  }

  test('five hundred callers of a cold key on each of three nodes share one load', async () => {
    const caches = await newCacheInStep(cluster(), { clusterWaitMs })
    const loads = new CountedLoads()
    const gate = new Gate()
    const load = loads.heldBy(gate) as () => Promise<string>
    const reads = Promise.all(caches.flatMap((cache) => fiveHundred(cache, load)))
    await othersAreWaiting()
    gate.open()
    expect(new Set(await reads)).toEqual(new Set(['load 1']))
    expect(loads.count).toBe(1)
  })

  test('loads that take no time at all are shared, too', async () => {
    const caches = await newCacheInStep(cluster(), { clusterWaitMs })
    for (let round = 0; round < 20; round++) {
      const loads = new CountedLoads()
      const read = (cache: HybridCache) => cache.getOrCreate(`key ${round}`, loads.load)
      expect(new Set(await Promise.all(caches.map(read)))).toEqual(new Set(['load 1']))
      expect(loads.count).toBe(1)
    }
  })

  test('all nodes at once are shown the one value that was loaded after a write', async () => {
    const caches = await newCacheInStep(cluster(), { clusterWaitMs })
    const loads = new CountedLoads()
    for (let round = 1; round <= 10; round++) {
      const reads = Promise.all(caches.flatMap((cache) => fiveHundred(cache, loads.load)))
      expect(new Set(await reads)).toEqual(new Set([`load ${round}`]))
      expect(loads.count).toBe(round)
      await cluster().change({ keys: ['a'] })
    }
  })

  test('a holder that never ends costs the others one wait, after which they load and share', async () => {
    const [dead, ...others] = await newCacheInStep(cluster(), { clusterWaitMs: 80 })
    const loads = new CountedLoads()
    const gate = new Gate()
    // Not even its lock ends within the test.
    const hanging = dead.getOrCreate('a', loads.heldBy(gate), { entry: { clusterWaitMs } })
    await until('it holds the lock', () => loads.count === 1)
    const alive = new CountedLoads()
    const answers = await Promise.all(others.flatMap((cache) => fiveHundred(cache, alive.load)))
    for (const answer of answers) expect(answer).toMatch(/^load [12]$/)
    // Each for itself at most; and from then on nobody waits or loads.
    const { count } = alive
    expect(count).toBeLessThanOrEqual(others.length)
    await Promise.all(others.flatMap((cache) => fiveHundred(cache, alive.load)))
    expect(alive.count).toBe(count)
    expect(loads.count).toBe(1)
    gate.open()
    expect(await hanging).toBe('load 1')
  })

  test('a holder whose load fails lets the next node load at once', async () => {
    const [failing, waiting] = await newCacheInStep(cluster(), { clusterWaitMs })
    const loads = new CountedLoads()
    const gate = new Gate()
    const failed = expect(failing.getOrCreate('a', loads.heldBy(gate))).rejects.toThrow('No such table')
    await until('it holds the lock', () => loads.count === 1)
    const before = l2Reads(cluster().nodes[1]!)
    const reading = waiting!.getOrCreate('a', loads.load)
    await until('the other one waits', () => l2Reads(cluster().nodes[1]!) >= before + 3)
    expect(loads.count).toBe(1)
    gate.fail(new Error('No such table'))
    await failed
    expect(await reading).toBe('load 2')
  })

  test('a holder that all its callers have given up lets the next node load once it heeds that', async () => {
    const [impatient, waiting] = await newCacheInStep(cluster(), {
      clusterWaitMs,
      backgroundCompletion: false,
    })
    const loads = new CountedLoads()
    const giveUp = new AbortController()
    const given = impatient.getOrCreate(
      'a',
      ({ signal }) =>
        new Promise<never>((_, reject) => {
          loads.count++
          signal.addEventListener('abort', () => reject(signal.reason))
        }),
      { signal: giveUp.signal },
    )
    const rejected = expect(given).rejects.toThrow('Gave up')
    await until('it holds the lock', () => loads.count === 1)
    const reading = waiting!.getOrCreate('a', loads.load)
    giveUp.abort(new Error('Gave up'))
    await rejected
    expect(await reading).toBe('load 2')
  })

  test('a node that knows of a write does not wait for a load that began before it', async () => {
    const [slow, quick, third] = await newCacheInStep(cluster(), { clusterWaitMs })
    const loads = new CountedLoads()
    const gate = new Gate()
    const reading = slow.getOrCreate('a', loads.heldBy(gate))
    await until('it holds the lock', () => loads.count === 1)
    await cluster().change({ keys: ['a'] })
    expect(await quick!.getOrCreate('a', loads.load)).toBe('load 2')
    // The caller had asked before the write; nobody else is shown what it gets.
    gate.open()
    expect(await reading).toBe('load 1')
    for (const cache of [slow, quick!, third!]) {
      expect(await cache.getOrCreate('a', loads.load)).toBe('load 2')
    }
    expect(loads.count).toBe(2)
  })

  test('one node that waits already leaves a load that a write has overtaken', async () => {
    const [slow, quick] = await newCacheInStep(cluster(), { clusterWaitMs })
    const loads = new CountedLoads()
    const gate = new Gate()
    const reading = slow.getOrCreate('a', loads.heldBy(gate))
    await until('it holds the lock', () => loads.count === 1)
    const before = l2Reads(cluster().nodes[1]!)
    const waiting = quick!.getOrCreate('a', loads.load)
    await until('the other one waits', () => l2Reads(cluster().nodes[1]!) >= before + 3)
    await cluster().change({ keys: ['a'] })
    expect(await waiting).toBe('load 2')
    gate.open()
    await reading
  })

  test('with the option off each node loads for itself', async () => {
    const caches = await newCacheInStep(cluster(), { clusterWaitMs, clusterSingleFlight: false })
    const loads = new CountedLoads()
    const gate = new Gate()
    const reads = Promise.all(caches.map((cache) => cache.getOrCreate('a', loads.heldBy(gate))))
    await until('all of them load', () => loads.count === nodeCount)
    gate.open()
    await reads
  })

  test('a call may leave it to itself where the cache does not', async () => {
    const [first, second] = await newCacheInStep(cluster(), { clusterWaitMs })
    const loads = new CountedLoads()
    const gate = new Gate()
    const reading = first.getOrCreate('a', loads.heldBy(gate))
    await until('it holds the lock', () => loads.count === 1)
    const alone = { entry: { clusterSingleFlight: false } }
    expect(await second!.getOrCreate('a', loads.load, alone)).toBe('load 2')
    gate.open()
    await reading
  })

  if (tiers === 'L1 and L2') {
    test('hits on all nodes in the last part of a value’s time start one refresh in the cluster', async () => {
      const caches = await newCacheInStep(cluster(), {
        l1TtlMs: 60_000,
        l2TtlMs: 60_000,
        eagerRefreshThreshold: 0.001,
        clusterWaitMs,
      })
      const loads = new CountedLoads()
      const gate = new Gate()
      for (const cache of caches) await cache.getOrCreate('a', loads.load)
      const began = loads.count
      const hitAll = () =>
        Promise.all(caches.map((cache) => cache.getOrCreate('a', loads.heldBy(gate)))).then((found) => {
          expect(new Set(found)).toEqual(new Set([`load ${began}`]))
        })
      expect(began).toBe(1)
      const before = cluster().nodes.map(l2Reads)
      await until('each node has found it time for a refresh', async () => {
        await hitAll()
        return cluster().nodes.every((node, index) => l2Reads(node) >= (before[index] ?? 0) + 2)
      })
      expect(loads.count).toBe(2)
      gate.open()
      for (const cache of caches) {
        const entry = { skipL1Read: true }
        await until('its value is everywhere', async () => (await cache.get('a', { entry })) === 'load 2')
      }
    })
  }
})
