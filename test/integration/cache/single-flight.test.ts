import { expect, test } from '@jest/globals'
import type { Node } from '../../../src/node.js'
import { overEveryTopology } from '../../support/cache-cluster.js'
import {
  ask,
  briefAndSafe,
  l2Reads,
  newCacheInStep,
  untilExpired,
  untilInL2,
} from '../../support/cache-reads.js'
import { CountedLoads } from '../../support/counted-loads.js'
import { Gate, settle } from '../../support/gate.js'
import { until } from '../../support/until.js'

const gaveUp = () => new Error('This caller gave up')

overEveryTopology('single flight', (cluster, { tiers, nodeCount }) => {
  const firstNode = () => cluster().nodes[0] as Node

  test('ten thousand callers of a cold key on a node share one load, and one read of L2', async () => {
    const [cache] = await newCacheInStep(cluster())
    const loads = new CountedLoads()
    const gate = new Gate()
    const before = l2Reads(firstNode())
    const load = loads.heldBy(gate)
    const early = Array.from({ length: 5_000 }, () => cache.getOrCreate('a', load))
    await until('the load has begun', () => loads.count === 1)
    const late = Array.from({ length: 5_000 }, () => cache.getOrCreate('a', load))
    await settle()
    gate.open()
    expect(new Set(await Promise.all([...early, ...late]))).toEqual(new Set(['load 1']))
    expect(loads.count).toBe(1)
    expect(l2Reads(firstNode()) - before).toBe(tiers === 'L1 only' ? 0 : 1)
  })

  if (nodeCount > 1 && tiers !== 'L1 only') {
    test('a node’s thousand callers of a key that another node has loaded share one read of L2', async () => {
      const [first, ...others] = await newCacheInStep(cluster())
      const loads = new CountedLoads()
      await first.getOrCreate('a', loads.load)
      for (const [index, cache] of others.entries()) {
        await untilInL2(cache, 'a')
        const node = cluster().nodes[index + 1] as Node
        const before = l2Reads(node)
        const reads = Array.from({ length: 1_000 }, () => cache.getOrCreate('a', loads.load))
        expect(new Set(await Promise.all(reads))).toEqual(new Set(['load 1']))
        expect(l2Reads(node) - before).toBe(1)
      }
    })
  }

  test('a load that fails tells all who waited, and the next caller loads', async () => {
    const [cache] = await newCacheInStep(cluster())
    const loads = new CountedLoads()
    const gate = new Gate()
    const waiting = Array.from({ length: 20 }, () => cache.getOrCreate('a', loads.heldBy(gate)))
    const outcomes = Promise.allSettled(waiting)
    await until('the load has begun', () => loads.count === 1)
    const failure = new Error('No such table')
    gate.fail(failure)
    expect(
      new Set((await outcomes).map((outcome) => outcome.status === 'rejected' && outcome.reason)),
    ).toEqual(new Set([failure]))
    expect(loads.count).toBe(1)
    expect(await cache.getOrCreate('a', loads.load)).toBe('load 2')
    expect(await cache.getOrCreate('a', loads.load)).toBe('load 2')
  })

  test('one caller who gives up has the signal’s reason, and the others have the value', async () => {
    const [cache] = await newCacheInStep(cluster(), { backgroundCompletion: false })
    const loads = new CountedLoads()
    const gate = new Gate()
    const impatience = new AbortController()
    const read = (signal?: AbortSignal) => cache.getOrCreate('a', loads.heldBy(gate), { signal })
    // The one who gives up is the one who began the load.
    const impatient = expect(read(impatience.signal)).rejects.toThrow(gaveUp())
    const patient = Array.from({ length: 10 }, () => read())
    await until('the load has begun', () => loads.count === 1)
    impatience.abort(gaveUp())
    await impatient
    expect(loads.contexts[0]?.signal.aborted).toBe(false)
    gate.open()
    expect(new Set(await Promise.all(patient))).toEqual(new Set(['load 1']))
    expect(loads.count).toBe(1)
  })

  test('a caller whose signal has aborted already starts no load, and joins none', async () => {
    const [cache] = await newCacheInStep(cluster())
    const loads = new CountedLoads()
    const signal = AbortSignal.abort(gaveUp())
    const before = l2Reads(firstNode())
    await expect(cache.getOrCreate('a', loads.load, { signal })).rejects.toThrow(gaveUp())
    expect(l2Reads(firstNode())).toBe(before)
    expect(loads.count).toBe(0)
    const gate = new Gate()
    const reading = cache.getOrCreate('a', loads.heldBy(gate))
    await until('a load has begun', () => loads.count === 1)
    await expect(cache.getOrCreate('a', loads.load, { signal })).rejects.toThrow(gaveUp())
    gate.open()
    expect(await reading).toBe('load 1')
  })

  test('a load that all callers have given up goes on, and its value is kept', async () => {
    const [cache] = await newCacheInStep(cluster())
    const loads = new CountedLoads()
    const gate = new Gate()
    const impatience = new AbortController()
    const { signal } = impatience
    const callers = [1, 2].map(() =>
      expect(cache.getOrCreate('a', loads.heldBy(gate), { signal })).rejects.toThrow(gaveUp()),
    )
    await until('the load has begun', () => loads.count === 1)
    impatience.abort(gaveUp())
    await Promise.all(callers)
    expect(loads.contexts[0]?.signal.aborted).toBe(false)
    gate.open()
    await until('its value is kept', async () => (await cache.get('a')) === 'load 1')
    expect(await cache.getOrCreate('a', loads.load)).toBe('load 1')
  })

  test('without background completion such a load is told so, and the next caller does not wait for it', async () => {
    const [cache] = await newCacheInStep(cluster(), {
      backgroundCompletion: false,
      // The given-up load still holds the lock of the cluster until it ends.
      clusterSingleFlight: false,
    })
    const loads = new CountedLoads()
    const impatience = [new AbortController(), new AbortController()]
    const load = loads.endless
    const callers = impatience.map(({ signal }) =>
      expect(cache.getOrCreate('a', load, { signal })).rejects.toThrow(gaveUp()),
    )
    await until('the load has begun', () => loads.count === 1)
    const signal = loads.contexts[0]!.signal
    impatience[0]!.abort(gaveUp())
    await callers[0]
    expect(signal.aborted).toBe(false)
    impatience[1]!.abort(gaveUp())
    await callers[1]
    expect(signal.aborted).toBe(true)
    expect(await cache.getOrCreate('a', loads.load)).toBe('load 2')
  })

  test('callers who are answered a stale value after a soft timeout share the load that goes on', async () => {
    const [cache] = await newCacheInStep(cluster(), { ...briefAndSafe, softTimeoutMs: 20 })
    const loads = new CountedLoads()
    await cache.getOrCreate('a', loads.load)
    await untilExpired(cache, 'a')
    const gate = new Gate()
    for (let round = 0; round < 3; round++) {
      const answers = Array.from({ length: 50 }, () =>
        ask(firstNode(), cache, 'a', loads.heldBy(gate), { entry: { clusterWaitMs: 60_000 } }),
      )
      for (const answer of await Promise.all(answers))
        expect(answer).toEqual({ value: 'load 1', staleness: 'expired' })
    }
    await until('the load has begun', () => loads.count === 2)
    gate.open()
    await until('the load has ended', () => cache.statistics.loads === 2)
  })

  if (tiers !== 'L2 only') {
    test('hits in the last part of a value’s time start one refresh, however many they are', async () => {
      const life = { l1TtlMs: 60_000, l2TtlMs: 60_000 }
      const [cache] = await newCacheInStep(cluster(), {
        ...life,
        eagerRefreshThreshold: 0.001,
        clusterWaitMs: 60_000,
      })
      const loads = new CountedLoads()
      await cache.getOrCreate('a', loads.load)
      const gate = new Gate()
      const hit = () => cache.getOrCreate('a', loads.heldBy(gate))
      await until('a refresh has begun', async () => {
        await Promise.all(Array.from({ length: 100 }, hit))
        return loads.count > 1
      })
      for (let round = 0; round < 10; round++) {
        expect(new Set(await Promise.all(Array.from({ length: 100 }, hit)))).toEqual(new Set(['load 1']))
        await settle()
      }
      expect(loads.count).toBe(2)
      gate.open()
      await until('it has been refreshed', async () => (await cache.get('a')) === 'load 2')
    })
  }
})
