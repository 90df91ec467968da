import { describe, expect, test } from '@jest/globals'
import type { CacheEventMap } from '../../../src/kernel/cache/cache-events.js'
import { CacheEvents } from '../../../src/kernel/cache/cache-events.js'
import type { Node } from '../../../src/node.js'
import { overEveryTopology, startCacheCluster } from '../../support/cache-cluster.js'
import { briefAndSafe, newCacheInStep, untilExpired, untilInL2 } from '../../support/cache-reads.js'
import { CountedLoads, FailingLoads, originIsDown } from '../../support/counted-loads.js'
import { Gate } from '../../support/gate.js'
import { perform } from '../../support/scripted-module.js'
import { silentLogger } from '../../support/silent-logger.js'
import { startSimulatedNode } from '../../support/simulated-node.js'
import { until } from '../../support/until.js'

type Name = keyof CacheEventMap
const all: readonly Name[] = [
  ...(['hit', 'miss', 'loaded', 'loadFailed', 'fenced', 'staleServed', 'evicted', 'notStored'] as const),
  ...(['breaker', 'gap', 'caughtUp', 'flushed', 'epochEntered'] as const),
]

/** What a node tells of one cache while `work` is done. */
async function told(node: Node, cache: string, work: () => Promise<unknown>): Promise<unknown[]> {
  const events: unknown[] = []
  const stops = all.map((name) =>
    node.parts.caches.events.on(name, (event) => {
      if (!('cache' in event) || event.cache !== cache) return
      const { cache: _, ...rest } = event
      events.push({ name, ...rest })
    }),
  )
  try {
    await work()
  } finally {
    for (const stop of stops) stop()
  }
  return events
}

overEveryTopology('observation', (cluster, { tiers, nodeCount }) => {
  const node = (index: number) => cluster().nodes.at(index) as Node
  const hasL1 = tiers !== 'L2 only'
  const hasL2 = tiers !== 'L1 only'

  test('a miss, its load and the hits that follow are told of, and counted', async () => {
    const caches = await newCacheInStep<string>(cluster())
    const [cache] = caches
    const load = new CountedLoads().load
    expect(await told(node(0), cache.name, () => cache.getOrCreate('a', load))).toEqual([
      { name: 'loaded', key: 'a', durationMs: expect.any(Number), eager: false },
      { name: 'miss', key: 'a' },
    ])
    const tier = hasL1 ? 'l1' : 'l2'
    const hit = { name: 'hit', key: 'a', tier }
    expect(await told(node(0), cache.name, () => cache.getOrCreate('a', load))).toEqual([hit])
    expect(await told(node(0), cache.name, () => cache.get('a'))).toEqual([hit])
    expect(await told(node(0), cache.name, () => cache.getMany(['a'], async () => new Map()))).toEqual([hit])
    expect(await told(node(0), cache.name, async () => cache.peek('a'))).toEqual(hasL1 ? [hit] : [])
    expect(cache.statistics).toMatchObject({
      ...{ l1Hits: hasL1 ? 4 : 0, l2Hits: hasL1 ? 0 : 3, misses: 1, bypasses: 0 },
      ...{ loads: 1, loadFailures: 0 },
      fenced: 0,
      staleServed: 0,
      eagerRefreshes: 0,
    })
    if (!hasL2 || nodeCount === 1) return
    const other = caches.at(-1)!
    expect(await told(node(-1), other.name, () => other.getOrCreate('a', load))).toEqual([
      { name: 'hit', key: 'a', tier: 'l2' },
    ])
    expect(other.statistics).toMatchObject({ l1Hits: 0, l2Hits: 1, misses: 0, loads: 0 })
  })

  test('a load that fails is told of with its error, and counted', async () => {
    const [cache] = await newCacheInStep<string>(cluster())
    const reading = () =>
      expect(cache.getOrCreate('a', new FailingLoads().load)).rejects.toThrow(originIsDown)
    expect(await told(node(0), cache.name, reading)).toEqual([
      { name: 'loadFailed', key: 'a', error: new Error(originIsDown), background: false },
    ])
    expect(cache.statistics).toMatchObject({ loads: 1, loadFailures: 1, misses: 0 })
  })

  test('one that nobody waited for any more is told of as such', async () => {
    const [cache] = await newCacheInStep<string>(cluster())
    const loads = new CountedLoads()
    const gate = new Gate()
    const impatience = new AbortController()
    const events = await told(node(0), cache.name, async () => {
      const reading = cache.getOrCreate('a', loads.heldBy(gate), { signal: impatience.signal })
      await until('the load has begun', () => loads.count === 1)
      impatience.abort(new Error('Gave up'))
      await expect(reading).rejects.toThrow('Gave up')
      gate.fail(new Error(originIsDown))
      await until('it has failed', () => cache.statistics.loadFailures === 1)
    })
    expect(events).toEqual([
      { name: 'loadFailed', key: 'a', error: new Error(originIsDown), background: true },
    ])
  })

  test('a stale answer is told of with what it is and why it was given', async () => {
    const [cache] = await newCacheInStep<string>(cluster(), { ...briefAndSafe, failSafeThrottleMs: 600_000 })
    await cache.getOrCreate('a', async () => 'old')
    await untilExpired(cache, 'a')
    const failing = new FailingLoads()
    const events = await told(node(0), cache.name, async () => {
      expect(await cache.getOrCreate('a', failing.load)).toBe('old')
      expect(await cache.getOrCreate('a', failing.load)).toBe('old')
    })
    const stale = { name: 'staleServed', key: 'a', staleness: 'expired' }
    expect(events).toEqual([
      { name: 'loadFailed', key: 'a', error: new Error(originIsDown), background: false },
      { ...stale, cause: 'failed' },
      { ...stale, cause: 'throttled' },
    ])
    const waiting = { entry: { softTimeoutMs: 20, failSafeThrottleMs: 0 } }
    const [slow] = await newCacheInStep<string>(cluster(), briefAndSafe)
    await slow.getOrCreate('a', async () => 'old')
    await untilExpired(slow, 'a')
    const gate = new Gate()
    const later = await told(node(0), slow.name, () =>
      slow.getOrCreate('a', new CountedLoads().heldBy(gate), waiting),
    )
    expect(later).toEqual([{ ...stale, cause: 'timeout' }])
    gate.open()
    expect(cache.statistics.staleServed).toBe(2)
  })

  test('what is kept out after a load, and what is kept from L2, is told of and counted', async () => {
    const caches = await newCacheInStep<string>(cluster())
    const [cache] = caches
    const loads = new CountedLoads()
    const gate = new Gate()
    const events = await told(node(0), cache.name, async () => {
      const reading = cache.getOrCreate('a', loads.heldBy(gate))
      await until('the load has begun', () => loads.count === 1)
      await cluster().change({ keys: ['a'] }, node(-1))
      gate.open()
      await reading
    })
    expect(events).toContainEqual({ name: 'fenced', key: 'a', from: 'load' })
    expect(cache.statistics.fenced).toBe(1)
    const stamp = cache.capture()
    await cluster().change({ keys: ['b'] })
    const setting = await told(node(0), cache.name, () => cache.set('b', 'old', { stamp }))
    expect(setting).toEqual([{ name: 'fenced', key: 'b', from: 'set' }])
    if (!hasL2) return
    await cache.getOrCreate('c', loads.load)
    await untilInL2(caches.at(-1)!, 'c')
    await cluster().change({ keys: ['c'] })
    const reading = await told(node(-1), cache.name, () => caches.at(-1)!.get('c'))
    expect(reading).toEqual([{ name: 'fenced', key: 'c', from: 'l2' }])
  })

  test('reads that no cache may answer are counted, and told of by nobody as misses', async () => {
    const [cache] = await newCacheInStep<string>(cluster())
    const events = await told(node(0), cache.name, () =>
      perform(node(0), () => cache.getOrCreate('a', async () => 'inside')),
    )
    expect(events).toEqual([])
    expect(cache.statistics).toMatchObject({ bypasses: 1, misses: 0 })
  })

  if (hasL1) {
    test('what is pushed out of memory is told of, and counted', async () => {
      const [cache] = await newCacheInStep<string>(cluster(), { maxEntries: 2 })
      const [bytes] = await newCacheInStep<string>(cluster(), { maxBytes: 1_000 })
      for (const [one, reason] of [
        [cache, 'entries'],
        [bytes, 'bytes'],
      ] as const) {
        const events = await told(node(0), one.name, async () => {
          for (const key of ['a', 'b', 'c']) await one.getOrCreate(key, async () => 'a'.repeat(200))
        })
        const evicted = events.filter((event) => (event as { name: Name }).name === 'evicted')
        expect(evicted).toEqual([{ name: 'evicted', key: 'a', reason }])
      }
      expect([cache.inMemory.evictions, bytes.inMemory.evictions]).toEqual([1, 1])
    })
  }

  test('nothing is told any more to who has stopped listening; others are still told', async () => {
    const [cache] = await newCacheInStep<string>(cluster())
    const { events } = node(0).parts.caches
    const heard: string[] = []
    const stopFirst = events.on('miss', ({ key }) => heard.push(`first ${key}`))
    const stopSecond = events.on('miss', ({ key }) => heard.push(`second ${key}`))
    await cache.getOrCreate('a', async () => 'value')
    stopFirst()
    await cache.getOrCreate('b', async () => 'value')
    stopSecond()
    await cache.getOrCreate('c', async () => 'value')
    expect(heard).toEqual(['first a', 'second a', 'second b'])
  })

  test('a listener that throws disturbs no read, and no other listener', async () => {
    const [cache] = await newCacheInStep<string>(cluster())
    const { events } = node(0).parts.caches
    const heard: Name[] = []
    const stops = all.flatMap((name) => [
      events.on(name, () => {
        throw new Error('A listener’s own trouble')
      }),
      events.on(name, () => heard.push(name)),
    ])
    try {
      expect(await cache.getOrCreate('a', async () => 'value')).toBe('value')
      expect(await cache.getOrCreate('a', async () => 'other')).toBe('value')
      await cluster().change({ keys: ['a'] })
      expect(await cache.getOrCreate('a', async () => 'new')).toBe('new')
    } finally {
      for (const stop of stops) stop()
    }
    expect(heard).toEqual(expect.arrayContaining(['loaded', 'miss', 'hit']))
  })

  if (nodeCount > 1) {
    test('what a check finds that no hint has brought is told of by the node that it happens to', async () => {
      const { events } = node(-1).parts.caches
      const reached: CacheEventMap['caughtUp'][0][] = []
      const stop = events.on('caughtUp', (reach) => reached.push(reach))
      try {
        await until('a check was first', async () => {
          await cluster().change({ keys: ['a'] })
          return reached.length > 0
        })
      } finally {
        stop()
      }
      expect(reached[0]!.to).toBeGreaterThan(reached[0]!.from)
    })
  }

  if (hasL2) {
    test('a circuit breaker tells how it stands with L2, which nobody waits for meanwhile', async () => {
      const [cache] = await newCacheInStep<string>(cluster())
      const { redis, caches } = node(0).parts
      const states: string[] = []
      const stop = caches.events.on('breaker', ({ state }) => states.push(state))
      const { getrangeBuffer } = redis!
      redis!.getrangeBuffer = () => Promise.reject(new Error('Redis hangs'))
      const onlyReads = { entry: { clusterSingleFlight: false, skipL1Read: true, skipL2Write: true } }
      const read = () => cache.getOrCreate('a', async () => 'value', onlyReads)
      await until('it is open', async () => (await read()) === 'value' && states.includes('open'))
      redis!.getrangeBuffer = getrangeBuffer
      await until('it is closed', async () => (await read()) === 'value' && states.includes('closed'))
      stop()
      expect(states).toEqual(['open', 'half-open', 'closed'])
    })
  }
})

describe('events of a node by itself', () => {
  test('a gap, a flush and a new epoch are told of with their places', async () => {
    const cluster = await startCacheCluster('L1 only', 1)
    try {
      const { applied, caches } = cluster.nodes[0]!.parts
      const heard: unknown[] = []
      for (const name of ['gap', 'flushed', 'epochEntered'] as const)
        caches.events.on(name, (event) => heard.push({ name, ...event }))
      const { position, numberingId } = applied
      applied.apply([{ position: position + 7, numberingId: 'other', type: 'any', payload: {} }])
      const head = { head: position, headId: numberingId } as Parameters<typeof applied.flushTo>[0]
      applied.flushTo(head, 'no longer to be had')
      applied.enterEpoch('another', position, numberingId)
      expect(heard).toEqual([
        { name: 'gap', applied: position, received: position + 7 },
        { name: 'flushed', position, reason: 'no longer to be had' },
        { name: 'epochEntered', epoch: 'another', position },
      ])
    } finally {
      await cluster.stop()
    }
  })

  test('with nobody listening none is wanted, nor after the last has stopped', () => {
    const events = new CacheEvents(silentLogger)
    expect(all.filter((name) => events.wants(name))).toEqual([])
    const stops = [events.on('hit', () => {}), events.on('hit', () => {})]
    expect(all.filter((name) => events.wants(name))).toEqual(['hit'])
    stops[0]!()
    expect(events.wants('hit')).toBe(true)
    stops[1]!()
    expect(all.filter((name) => events.wants(name))).toEqual([])
  })

  test('what nobody wants is not made, whatever happens', async () => {
    const node = await startSimulatedNode()
    let made = 0
    node.events.emit = () => {
      made++
    }
    await node.cache.getOrCreate('a', async () => 'value')
    await node.cache.getOrCreate('a', async () => 'value')
    await node.cache.getOrCreate('b', () => Promise.reject(new Error())).catch(() => {})
    await node.apply({ keys: ['a'] })
    await node.cache.getOrCreate('a', async () => () => 'a function')
    expect(made).toBe(0)
  })
})
