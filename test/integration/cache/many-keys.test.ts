import { expect, test } from '@jest/globals'
import { CacheInvalidated } from '../../../src/kernel/cache/cache-invalidated.js'
import type { Node } from '../../../src/node.js'
import { overEveryTopology } from '../../support/cache-cluster.js'
import {
  briefAndSafe,
  messagesAfter,
  newCacheInStep,
  untilExpired,
  untilInL2,
} from '../../support/cache-reads.js'
import { CountedLoads, originIsDown } from '../../support/counted-loads.js'
import { Gate } from '../../support/gate.js'
import { perform } from '../../support/scripted-module.js'
import { until } from '../../support/until.js'

/** Loads of many keys at once, that remember which. */
class BatchedLoads {
  calls: (readonly string[])[] = []
  signals: AbortSignal[] = []
  readonly absent = new Set<string>()

  readonly load = async (missing: readonly string[], signal: AbortSignal): Promise<Map<string, string>> => {
    this.calls.push(missing)
    this.signals.push(signal)
    const number = this.calls.length
    const found = missing.filter((key) => !this.absent.has(key))
    return new Map(found.map((key) => [key, `${key} of batch ${number}`]))
  }

  heldBy(gate: Gate) {
    return async (missing: readonly string[], signal: AbortSignal): Promise<Map<string, string>> => {
      const found = await this.load(missing, signal)
      await gate.opened
      return found
    }
  }
}

const fails = () => Promise.reject(new Error(originIsDown))
const asObject = (found: ReadonlyMap<string, string>) => Object.fromEntries(found)

/** Commands that one node has sent to Redis while `work` was done; those of the journal left out. */
async function commandsOf(
  node: Node,
  work: () => Promise<unknown>,
  done: (sent: readonly string[]) => boolean = () => true,
): Promise<string[]> {
  const redis = node.parts.redis!
  const sent: string[] = []
  const send = redis.sendCommand
  redis.sendCommand = function (command, ...rest) {
    sent.push(command.name)
    return send.call(this, command, ...rest)
  }
  try {
    await work()
    await until('all was sent', () => done(sent))
  } finally {
    redis.sendCommand = send
  }
  return sent.filter((name) => name !== 'publish')
}

overEveryTopology('many keys', (cluster, { tiers, nodeCount }) => {
  const node = (index: number) => cluster().nodes.at(index) as Node
  const hasL1 = tiers !== 'L2 only'
  const hasL2 = tiers !== 'L1 only'

  test('what is missing is loaded by one call, and answered in the order that was asked for', async () => {
    const [cache] = await newCacheInStep<string>(cluster())
    const loads = new BatchedLoads()
    const found = await cache.getMany(['c', 'a', 'b', 'a'], loads.load)
    expect([...found]).toEqual(['c', 'a', 'b'].map((key) => [key, `${key} of batch 1`]))
    expect(loads.calls).toEqual([['c', 'a', 'b']])
    if (hasL2) for (const key of ['a', 'b', 'c']) await untilInL2(cache, key)
    expect(await cache.getMany(['a', 'b', 'c'], loads.load)).toEqual(found)
    expect(loads.calls).toHaveLength(1)
    expect(cache.statistics).toMatchObject({ loads: 1, misses: 3 })
    expect(await cache.getMany([], loads.load)).toEqual(new Map())
    expect(loads.calls).toHaveLength(1)
  })

  test('what memory has, what L2 has and what is loaded come together', async () => {
    const caches = await newCacheInStep<string>(cluster())
    const reader = caches.at(-1)!
    const loads = new CountedLoads()
    await caches[0].getOrCreate('in L2', loads.load)
    if (hasL2) await untilInL2(reader, 'in L2')
    await reader.getOrCreate('in memory', loads.load)
    if (hasL2) await untilInL2(reader, 'in memory')
    const batched = new BatchedLoads()
    const found = await reader.getMany(['loaded', 'in L2', 'in memory', 'loaded, too'], batched.load)
    const missing = ['loaded', ...(hasL2 || nodeCount === 1 ? [] : ['in L2']), 'loaded, too']
    expect(batched.calls).toEqual([missing])
    expect(asObject(found)).toEqual({
      loaded: 'loaded of batch 1',
      'in L2': missing.includes('in L2') ? 'in L2 of batch 1' : 'load 1',
      'in memory': 'load 2',
      'loaded, too': 'loaded, too of batch 1',
    })
  })

  test('a key that the load leaves out is absent, and is asked for again', async () => {
    const [cache] = await newCacheInStep<string>(cluster())
    const loads = new BatchedLoads()
    loads.absent.add('b')
    expect([...(await cache.getMany(['a', 'b', 'c'], loads.load)).keys()]).toEqual(['a', 'c'])
    if (hasL2) for (const key of ['a', 'c']) await untilInL2(cache, key)
    loads.absent.clear()
    expect([...(await cache.getMany(['a', 'b', 'c'], loads.load)).keys()]).toEqual(['a', 'b', 'c'])
    expect(loads.calls).toEqual([['a', 'b', 'c'], ['b']])
  })

  test('a load under way is joined, by those who want many keys and by those who want one', async () => {
    const [cache] = await newCacheInStep<string>(cluster())
    const single = new CountedLoads()
    const batched = new BatchedLoads()
    const gates = { single: new Gate(), batched: new Gate() }
    const one = cache.getOrCreate('a', single.heldBy(gates.single))
    await until('the single load has begun', () => single.count === 1)
    const many = cache.getMany(['a', 'b', 'c'], batched.heldBy(gates.batched))
    await until('the batch has begun', () => batched.calls.length === 1)
    const joining = cache.getOrCreate('b', single.load)
    const others = cache.getMany(['c', 'a'], batched.load)
    gates.single.open()
    gates.batched.open()
    expect(await one).toBe('load 1')
    expect(asObject(await many)).toEqual({ a: 'load 1', b: 'b of batch 1', c: 'c of batch 1' })
    expect(await joining).toBe('b of batch 1')
    expect(asObject(await others)).toEqual({ a: 'load 1', c: 'c of batch 1' })
    expect(batched.calls).toEqual([['b', 'c']])
    expect(single.count).toBe(1)
  })

  test('an invalidation of one key in the middle of a load keeps out that key alone', async () => {
    const caches = await newCacheInStep<string>(cluster())
    const [cache] = caches
    const loads = new BatchedLoads()
    const gate = new Gate()
    const reading = cache.getMany(['a', 'b', 'c'], loads.heldBy(gate))
    await until('the load has begun', () => loads.calls.length === 1)
    await cluster().change({ keys: ['b'] }, node(-1))
    gate.open()
    expect((await reading).size).toBe(3)
    if (hasL2) for (const key of ['a', 'c']) for (const one of caches) await untilInL2(one, key)
    for (const one of hasL2 ? caches : [cache]) {
      expect(await one.get('a')).toBe('a of batch 1')
      expect(await one.get('c')).toBe('c of batch 1')
    }
    for (const one of caches) {
      expect(one.peek('b')).toBeUndefined()
      expect(await one.get('b')).toBeUndefined()
    }
    expect(cache.statistics.fenced).toBe(1)
    const after = await cache.getMany(['a', 'b', 'c'], loads.load)
    expect(after.get('b')).toBe('b of batch 2')
    expect(loads.calls.at(-1)).toEqual(['b'])
  })

  test('a load that fails fails the read, keeps nothing, and is done again', async () => {
    const [cache] = await newCacheInStep<string>(cluster())
    await cache.getOrCreate('a', async () => 'a')
    if (hasL2) await untilInL2(cache, 'a')
    await expect(cache.getMany(['a', 'b', 'c'], fails)).rejects.toThrow(originIsDown)
    expect(cache.statistics.loadFailures).toBe(1)
    const loads = new BatchedLoads()
    expect((await cache.getMany(['a', 'b', 'c'], loads.load)).size).toBe(3)
    expect(loads.calls).toEqual([['b', 'c']])
  })

  test('with fail-safe, keys past their time are answered all the same, each for itself', async () => {
    const [cache] = await newCacheInStep<string>(cluster(), briefAndSafe)
    const loads = new BatchedLoads()
    await cache.getMany(['a', 'b'], loads.load)
    for (const key of ['a', 'b']) await untilExpired(cache, key)
    expect(asObject(await cache.getMany(['a', 'b'], fails))).toEqual({ a: 'a of batch 1', b: 'b of batch 1' })
    expect(cache.statistics.staleServed).toBe(2)
    // For a third there is nothing to fall back on.
    await expect(cache.getMany(['a', 'b', 'c'], fails)).rejects.toThrow(originIsDown)
  })

  test('a caller who gives up does not end a load that others wait for', async () => {
    const [cache] = await newCacheInStep<string>(cluster(), { backgroundCompletion: false })
    const loads = new BatchedLoads()
    const gate = new Gate()
    const impatience = new AbortController()
    const reading = cache.getMany(['a', 'b'], loads.heldBy(gate), { signal: impatience.signal })
    const givenUp = expect(reading).rejects.toThrow('Gave up')
    await until('the load has begun', () => loads.calls.length === 1)
    const other = cache.getOrCreate('b', fails)
    impatience.abort(new Error('Gave up'))
    await givenUp
    expect(loads.signals[0]?.aborted).toBe(false)
    gate.open()
    expect(await other).toBe('b of batch 1')
  })

  test('inside a unit of work all are loaded there, and kept nowhere', async () => {
    const caches = await newCacheInStep<string>(cluster())
    const [cache] = caches
    await cache.getOrCreate('a', async () => 'kept')
    const loads = new BatchedLoads()
    loads.absent.add('c')
    const inside = await perform(node(0), () => cache.getMany(['a', 'b', 'c'], loads.load))
    expect(asObject(inside)).toEqual({ a: 'a of batch 1', b: 'b of batch 1' })
    expect(loads.calls).toEqual([['a', 'b', 'c']])
    for (const one of caches) expect(await one.get('b')).toBeUndefined()
    expect(cache.statistics.bypasses).toBe(3)
  })

  test('inside a unit of work the answer has what was asked for, in that order, and nothing else', async () => {
    const [cache] = await newCacheInStep<string>(cluster())
    const load = async () => new Map(['c', 'b', 'a'].map((key) => [key, key]))
    for (const found of [
      await cache.getMany(['a', 'b'], load),
      await perform(node(0), () => cache.getMany(['a', 'b'], load)),
    ])
      expect([...found]).toEqual(['a', 'b'].map((key) => [key, key]))
  })

  test('inside a unit of work nothing is loaded for a caller who has given up', async () => {
    const [cache] = await newCacheInStep<string>(cluster())
    const signal = AbortSignal.abort(new Error('Gave up'))
    const loads = new BatchedLoads()
    await perform(node(0), async () => {
      await expect(cache.getMany(['a'], loads.load, { signal })).rejects.toThrow('Gave up')
      await expect(cache.getOrCreate('a', fails, { signal })).rejects.toThrow('Gave up')
    })
    expect(loads.calls).toEqual([])
  })

  test('many values are set by one message, and all nodes have them', async () => {
    const caches = await newCacheInStep<string>(cluster())
    const [cache] = caches
    for (const one of caches) await one.getOrCreate('a', async () => 'before')
    const { position } = node(0).parts.applied
    await cache.setMany(
      [
        ['a', 'set a'],
        ['b', 'set b'],
        ['c', 'set c'],
      ],
      { stamp: cache.capture() },
    )
    const messages = await messagesAfter(cluster().database, position)
    expect(messages.map(({ type }) => type)).toEqual([CacheInvalidated.eventName])
    await cluster().inStep()
    for (const one of hasL2 ? caches : [cache]) {
      for (const key of ['a', 'b', 'c']) {
        await until(`${key} is there`, async () => (await one.get(key)) === `set ${key}`)
      }
    }
    for (const one of caches) expect(await one.get('a')).not.toBe('before')
  })

  test('of many values that are set, one that a write has overtaken is kept out alone', async () => {
    const caches = await newCacheInStep<string>(cluster())
    const [cache] = caches
    const stamp = cache.capture()
    await cluster().change({ keys: ['b'] }, node(-1))
    await cache.setMany(
      [
        ['a', 'set a'],
        ['b', 'set b'],
      ],
      { stamp },
    )
    await cluster().inStep()
    if (hasL2) for (const one of caches) await untilInL2(one, 'a')
    expect(await cache.get('a')).toBe('set a')
    for (const one of caches) expect(await one.get('b')).toBeUndefined()
    expect(cache.statistics.fenced).toBe(1)
  })

  test('many keys are removed by one message', async () => {
    const caches = await newCacheInStep<string>(cluster())
    const loads = new BatchedLoads()
    for (const cache of caches) await cache.getMany(['a', 'b', 'c'], loads.load)
    const kept = caches.map((cache) => cache.peek('c'))
    const { position } = node(0).parts.applied
    await caches[0].removeMany(new Set(['a', 'b']))
    expect(await messagesAfter(cluster().database, position)).toHaveLength(1)
    await cluster().inStep()
    for (const cache of caches) {
      for (const key of ['a', 'b']) expect(await cache.get(key)).toBeUndefined()
    }
    expect(caches.map((cache) => cache.peek('c'))).toEqual(kept)
    if (hasL1) expect(kept).not.toContain(undefined)
  })

  if (!hasL2) return

  test('L2 is asked once for many keys, told once of many values, and once to forget', async () => {
    const [cache] = await newCacheInStep<string>(cluster())
    const loads = new BatchedLoads()
    const keys = Array.from({ length: 50 }, (_, index) => `${index}`)
    const cold = await commandsOf(node(0), () => cache.getMany(keys, loads.load))
    expect(cold.filter((name) => name === 'evalsha')).toHaveLength(1)
    expect(cold.filter((name) => name === 'getrange')).toEqual([])
    for (const key of keys) await untilInL2(cache, key)
    const warm = await commandsOf(node(0), () =>
      cache.getMany(keys, loads.load, { entry: { skipL1Read: true } }),
    )
    expect(warm).toEqual(['evalsha'])
    expect(loads.calls).toHaveLength(1)
    const removal = await commandsOf(
      node(0),
      () => cache.removeMany(keys),
      (sent) => sent.includes('unlink'),
    )
    expect(removal).toEqual(['unlink'])
  })
})
