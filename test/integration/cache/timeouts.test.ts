import { expect, test } from '@jest/globals'
import { LoadTimeoutError } from '../../../src/kernel/cache/cache-errors.js'
import type { CacheEventMap } from '../../../src/kernel/cache/cache-events.js'
import type { CacheSettings } from '../../../src/kernel/cache/caches.js'
import type { Node } from '../../../src/node.js'
import { overEveryTopology } from '../../support/cache-cluster.js'
import {
  ask,
  briefAndSafe,
  newCacheInStep,
  type OnAllNodes,
  untilExpired,
  untilInL2,
} from '../../support/cache-reads.js'
import { CountedLoads, FailingLoads } from '../../support/counted-loads.js'
import { Gate, settle } from '../../support/gate.js'
import { until } from '../../support/until.js'

/** For what is loaded in a test's second part: not past its time before the test has looked. */
const long = { l1TtlMs: 60_000, l2TtlMs: 60_000 }

overEveryTopology('timeouts', (cluster, { tiers }) => {
  const firstNode = () => cluster().nodes[0] as Node

  /** A cache whose first node has `load 1` under `a`, past its time. */
  async function expired(settings: CacheSettings, loads: CountedLoads): Promise<OnAllNodes> {
    const caches = await newCacheInStep(cluster(), { ...briefAndSafe, ...settings })
    await caches[0].getOrCreate('a', loads.load)
    await untilExpired(caches[0], 'a')
    return caches
  }

  test('after a soft timeout the stale value is answered, marked, and the load stores what it finds', async () => {
    const loads = new CountedLoads()
    const caches = await expired({ softTimeoutMs: 20 }, loads)
    const gate = new Gate()
    const stale = await ask(firstNode(), caches[0], 'a', loads.heldBy(gate), { entry: long })
    expect(stale).toEqual({ value: 'load 1', staleness: 'expired' })
    gate.open()
    await until('the value is kept', async () => (await caches[0].get('a')) === 'load 2')
    const fresh = { value: 'load 2', staleness: 'none' }
    expect(await ask(firstNode(), caches[0], 'a', loads.load)).toEqual(fresh)
    if (tiers === 'L1 only') return
    for (const [index, cache] of caches.entries()) {
      await untilInL2(cache, 'a')
      expect(await ask(cluster().nodes[index] as Node, cache, 'a', loads.load)).toEqual(fresh)
    }
    expect(loads.count).toBe(2)
  })

  test('what a load finds after a soft timeout ends the answering of what is stale', async () => {
    const loads = new CountedLoads()
    // The throttle is for attempts that fail: a new value is not kept back by it.
    const [cache] = await expired({ softTimeoutMs: 20, failSafeThrottleMs: 60_000 }, loads)
    const gate = new Gate()
    const stale = await ask(firstNode(), cache, 'a', loads.heldBy(gate), { entry: long })
    expect(stale).toEqual({ value: 'load 1', staleness: 'expired' })
    let loaded = 0
    const stop = firstNode().parts.caches.events.on('loaded', () => loaded++)
    gate.open()
    await until('the load has ended', () => loaded === 1)
    stop()
    await settle()
    const fresh = { value: 'load 2', staleness: 'none' }
    expect(await ask(firstNode(), cache, 'a', loads.load)).toEqual(fresh)
  })

  test('a load that comes before the soft timeout is answered like any other', async () => {
    const loads = new CountedLoads()
    const [cache] = await expired({ softTimeoutMs: 10_000 }, loads)
    const fresh = { value: 'load 2', staleness: 'none' }
    expect(await ask(firstNode(), cache, 'a', loads.load)).toEqual(fresh)
  })

  test.each(['key', 'tag'])(
    'an invalidation of its %s in the middle of a load that nobody waits for keeps its value out',
    async (which) => {
      const loads = new CountedLoads()
      const caches = await expired({ softTimeoutMs: 20 }, loads)
      const gate = new Gate()
      const options = { tags: ['of the value'], entry: long }
      const stale = await ask(firstNode(), caches[0], 'a', loads.heldBy(gate), options)
      expect(stale).toEqual({ value: 'load 1', staleness: 'expired' })
      await until('the load has begun', () => loads.count === 2)
      await cluster().change(which === 'key' ? { keys: ['a'] } : { tags: ['of the value'] })
      const { fenced } = caches[0].statistics
      gate.open()
      await until('its end was noticed', () => caches[0].statistics.fenced > fenced)
      await settle()
      for (const cache of caches) expect(await cache.get('a')).toBeUndefined()
      for (const cache of caches) {
        const patient = { ...options, entry: { ...long, softTimeoutMs: 60_000 } }
        expect(await cache.getOrCreate('a', async () => 'new', patient)).toBe('new')
        expect(await cache.get('a')).toBe('new')
      }
    },
  )

  test('after a hard timeout with nothing stale the caller is told, and the load stores what it finds', async () => {
    const caches = await newCacheInStep(cluster(), { hardTimeoutMs: 20, ...long })
    const loads = new CountedLoads()
    const gate = new Gate()
    const reading = caches[0].getOrCreate('a', loads.heldBy(gate))
    await expect(reading).rejects.toThrow(new LoadTimeoutError(caches[0].name, 'a', 20))
    await expect(reading).rejects.toMatchObject({ name: 'LoadTimeoutError', key: 'a', timeoutMs: 20 })
    await until('the load has begun', () => loads.count === 1)
    expect(loads.contexts[0]?.signal.aborted).toBe(false)
    gate.open()
    await until('the value is kept', async () => (await caches[0].get('a')) === 'load 1')
    if (tiers !== 'L1 only') for (const cache of caches) await untilInL2(cache, 'a')
  })

  test('after a hard timeout with something stale, that is answered', async () => {
    const loads = new CountedLoads()
    const [cache] = await expired({ hardTimeoutMs: 20 }, loads)
    const stale = await ask(firstNode(), cache, 'a', loads.endless)
    expect(stale).toEqual({ value: 'load 1', staleness: 'expired' })
  })

  test('without background completion a load is told when its last caller’s hard timeout is over', async () => {
    const [cache] = await newCacheInStep(cluster(), { hardTimeoutMs: 20, backgroundCompletion: false })
    const loads = new CountedLoads()
    const reads = [1, 2].map(() => cache.getOrCreate('a', loads.endless))
    for (const read of reads) await expect(read).rejects.toThrow(LoadTimeoutError)
    await until('the load has begun', () => loads.count === 1)
    expect(loads.contexts.map(({ signal }) => signal.aborted)).toEqual([true])
  })

  test('a load that hangs does not hold its key: after the hard timeout others load', async () => {
    const [cache] = await newCacheInStep(cluster(), { hardTimeoutMs: 50, clusterSingleFlight: false })
    const loads = new CountedLoads()
    await expect(cache.getOrCreate('a', loads.endless)).rejects.toThrow(LoadTimeoutError)
    await until('the load has begun', () => loads.count === 1)
    expect(await cache.getOrCreate('a', loads.load, { entry: { hardTimeoutMs: 60_000 } })).toBe('load 2')
  })

  test('a soft timeout with nothing stale goes on waiting', async () => {
    const [cache] = await newCacheInStep(cluster(), { ...briefAndSafe, softTimeoutMs: 1 })
    const loads = new CountedLoads()
    const gate = new Gate()
    const reading = ask(firstNode(), cache, 'a', loads.heldBy(gate))
    // One that has a stale value, and waits as long, is answered meanwhile.
    const [other] = await expired({ softTimeoutMs: 20 }, new CountedLoads())
    await ask(firstNode(), other, 'a', loads.endless)
    gate.open()
    expect(await reading).toEqual({ value: 'load 1', staleness: 'none' })
  })

  test('a soft timeout without fail-safe goes on waiting', async () => {
    const loads = new CountedLoads()
    const [cache] = await expired({ softTimeoutMs: 1, failSafe: false }, loads)
    const gate = new Gate()
    const reading = ask(firstNode(), cache, 'a', loads.heldBy(gate))
    const [other] = await expired({ softTimeoutMs: 20 }, new CountedLoads())
    await ask(firstNode(), other, 'a', new CountedLoads().endless)
    gate.open()
    expect(await reading).toEqual({ value: 'load 2', staleness: 'none' })
  })

  test('a soft timeout does not answer what a write has replaced', async () => {
    const loads = new CountedLoads()
    const [cache] = await expired({ softTimeoutMs: 1 }, loads)
    await cluster().change({ keys: ['a'] })
    const gate = new Gate()
    const reading = ask(firstNode(), cache, 'a', loads.heldBy(gate))
    const [other] = await expired({ softTimeoutMs: 20 }, new CountedLoads())
    await ask(firstNode(), other, 'a', new CountedLoads().endless)
    gate.open()
    expect(await reading).toEqual({ value: 'load 2', staleness: 'none' })
  })

  test.each([
    ['soft', { softTimeoutMs: 20 }],
    ['hard', { hardTimeoutMs: 20 }],
  ])(
    'a load that fails after a %s timeout is told as an event, and troubles nobody',
    async (which, timeout) => {
      const loads = new CountedLoads()
      const [cache] = await expired(timeout, loads)
      const failed: CacheEventMap['loadFailed'][0][] = []
      const stop = firstNode().parts.caches.events.on('loadFailed', (event) => failed.push(event))
      try {
        const gate = new Gate()
        const read = ask(firstNode(), cache, 'a', loads.heldBy(gate))
        expect(await read).toEqual({ value: 'load 1', staleness: 'expired' })
        const error = new Error(`Too late after ${which}`)
        gate.fail(error)
        await until('it has failed', () => failed.length > 0)
        expect(failed).toEqual([{ cache: cache.name, key: 'a', error, background: true }])
        // Were its rejection handled by nobody, the runner would fail this test.
        for (let turn = 0; turn < 3; turn++) await settle()
      } finally {
        stop()
      }
    },
  )

  if (tiers !== 'L2 only') {
    test('a refresh ahead of time that fails is told as one that nobody waited for', async () => {
      const [cache] = await newCacheInStep(cluster(), { ...long, eagerRefreshThreshold: 0.001 })
      const failed: boolean[] = []
      const stop = firstNode().parts.caches.events.on('loadFailed', (event) => failed.push(event.background))
      await cache.getOrCreate('a', async () => 'value')
      await until('a refresh has failed', async () => {
        expect(await cache.getOrCreate('a', new FailingLoads().load)).toBe('value')
        return failed.length > 0
      })
      stop()
      expect(failed).toEqual([true])
    })
  }

  test('a load whose caller waits for its failure is not told as one in the background', async () => {
    const [cache] = await newCacheInStep(cluster())
    const failed: boolean[] = []
    const stop = firstNode().parts.caches.events.on('loadFailed', (event) => failed.push(event.background))
    await expect(cache.getOrCreate('a', new FailingLoads().load)).rejects.toThrow()
    stop()
    expect(failed).toEqual([false])
  })
})
