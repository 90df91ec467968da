import { describe, expect, test } from '@jest/globals'
import type { EntryOptions } from '../../../src/kernel/cache/entry-options.js'
import { Gate, settle } from '../../support/gate.js'
import { InMemoryJournal } from '../../support/in-memory-journal.js'
import { InMemoryTier } from '../../support/in-memory-tier.js'
import { ManualClock } from '../../support/manual-clock.js'
import { startSimulatedNode } from '../../support/simulated-node.js'

const never = () => Promise.reject(new Error('it was cached'))

describe('a node serves its copy from L2 for as long as', () => {
  const shared = { l1TtlMs: 1_000, l2TtlMs: 100_000 }
  const deciding =
    (l1TtlMs: number) =>
    async ({ adapt }: { adapt(options: Partial<EntryOptions>): void }) => {
      adapt({ l1TtlMs })
      return 'value'
    }
  const load = async () => 'value'
  test.each([
    ['its own call says, if that is the shorter time', {}, { l1TtlMs: 200 }, load, 200],
    ['the call that loaded it said, if that is the shorter time', { l1TtlMs: 400 }, {}, load, 400],
    ['the call that loaded it said, and no longer', {}, { l1TtlMs: 1_500 }, load, 1_000],
    ['the load has decided, even if that is shorter', {}, { l1TtlMs: 1_500 }, deciding(300), 300],
    ['the load has decided, even if that is longer', {}, { l1TtlMs: 200 }, deciding(1_500), 1_500],
  ])('%s', async (_, loading, reading, factory, forMs) => {
    const clock = new ManualClock()
    const settings = { journal: new InMemoryJournal(), clock, shared: new InMemoryTier(), entry: shared }
    const one = await startSimulatedNode(settings)
    const two = await startSimulatedNode(settings)
    await one.cache.getOrCreate('a', factory, { entry: loading })
    await two.cache.getOrCreate('a', never, { entry: reading })
    clock.advance(forMs - 1)
    expect(two.cache.peek('a')).toBe('value')
    clock.advance(1)
    expect(two.cache.peek('a')).toBeUndefined()
  })
})

describe('without background completion, a read that all callers have given up', () => {
  test.each(['getOrCreate', 'getMany'])('while it waits for L2 calls no factory: %s', async (method) => {
    const shared = new InMemoryTier()
    const gate = new Gate()
    shared.afterGet = () => gate.opened
    const { cache } = await startSimulatedNode({ shared })
    let calls = 0
    const load = async () => `load ${++calls}`
    const giveUp = new AbortController()
    const options = { signal: giveUp.signal, entry: { backgroundCompletion: false } }
    const reading =
      method === 'getMany'
        ? cache.getMany<unknown>(['a', 'b'], async () => new Map([['a', await load()]]), options)
        : cache.getOrCreate<unknown>('a', load, options)
    await settle()
    giveUp.abort(new Error('given up'))
    await expect(reading).rejects.toThrow('given up')
    gate.open()
    await settle()
    expect(calls).toBe(0)
    expect(await cache.getOrCreate('a', load)).toBe('load 1')
  })

  test('while it waits for another node’s load stops waiting and calls no factory', async () => {
    const clock = new ManualClock()
    const entry = { clusterSingleFlight: true, clusterWaitMs: 1_000 }
    const settings = { journal: new InMemoryJournal(), clock, shared: new InMemoryTier(), entry }
    const one = await startSimulatedNode(settings)
    const two = await startSimulatedNode(settings)
    void one.cache.getOrCreate('a', () => new Promise(() => {}))
    await settle()
    let calls = 0
    const giveUp = new AbortController()
    const reading = two.cache.getOrCreate('a', async () => ++calls, {
      signal: giveUp.signal,
      entry: { backgroundCompletion: false },
    })
    await settle()
    giveUp.abort(new Error('given up'))
    await expect(reading).rejects.toThrow('given up')
    for (let count = 0; count < 1_100; count++) {
      clock.advance(1)
      await settle()
    }
    expect(calls).toBe(0)
  })
})

describe('hits of getMany past the eager refresh threshold', () => {
  async function due() {
    const node = await startSimulatedNode({
      shared: new InMemoryTier(),
      entry: { l1TtlMs: 1_000, l2TtlMs: 1_000, eagerRefreshThreshold: 0.5 },
    })
    const calls: string[][] = []
    const load = async (keys: readonly string[]) => {
      calls.push([...keys])
      return new Map(keys.map((key) => [key, `${key}${calls.length}`]))
    }
    const read = async (...keys: string[]) => [...(await node.cache.getMany(keys, load)).values()]
    await read('a', 'b')
    node.clock.advance(600)
    return { node, calls, read }
  }

  test('are answered at once with the present values, and start one refresh for all of them', async () => {
    const { node, calls, read } = await due()
    expect(await read('a', 'b')).toEqual(['a1', 'b1'])
    expect(await read('a', 'b')).toEqual(['a1', 'b1'])
    await settle()
    expect(calls).toEqual([
      ['a', 'b'],
      ['a', 'b'],
    ])
    expect(node.cache.statistics.eagerRefreshes).toBe(2)
    node.clock.advance(400)
    expect(await read('a', 'b')).toEqual(['a2', 'b2'])
    expect(calls).toHaveLength(2)
  })

  test('are refreshed separately from the keys that are missing', async () => {
    const { calls, read } = await due()
    expect(await read('a', 'b', 'c')).toEqual(['a1', 'b1', 'c2'])
    await settle()
    expect(calls.map((keys) => keys.join()).sort()).toEqual(['a,b', 'a,b', 'c'])
  })

  test('are still served if their refresh fails, and are refreshed again later', async () => {
    const { node, read } = await due()
    const fails = () => Promise.reject(new Error('away'))
    expect((await node.cache.getMany(['a', 'b'], fails)).size).toBe(2)
    await settle()
    expect(await read('a', 'b')).toEqual(['a1', 'b1'])
    expect(node.cache.statistics.loadFailures).toBe(1)
  })

  test('do not keep a refreshed value that was invalidated while it loaded', async () => {
    const { node, read } = await due()
    const gate = new Gate()
    await node.cache.getMany(['a'], async () => {
      await gate.opened
      return new Map([['a', 'from before']])
    })
    await settle()
    await node.apply({ keys: ['a'] })
    gate.open()
    await settle()
    expect(await read('a')).not.toEqual(['from before'])
  })
})
