import { getEventListeners } from 'node:events'
import { describe, expect, test } from '@jest/globals'
import type { CacheInvalidated } from '../../../src/kernel/cache/cache-invalidated.js'
import { systemClock } from '../../../src/kernel/clock.js'
import { runInScope, TransactionScope } from '../../../src/kernel/persistence/transaction-scope.js'
import { Gate, settle } from '../../support/gate.js'
import { ManualClock } from '../../support/manual-clock.js'
import { type SimulatedNode, startSimulatedNode } from '../../support/simulated-node.js'

const keysOf = (count: number) => Array.from({ length: count }, (_, index) => `key-${index}`)
const thingOf = (key: string) => ({ of: key })
const load = async (missing: readonly string[]) => new Map(missing.map((key) => [key, thingOf(key)]))

/** A clock that counts how often a turn of the event loop was yielded. */
class CountingClock extends ManualClock {
  turns = 0
  override async nextTurn(): Promise<void> {
    this.turns++
    await systemClock.nextTurn()
  }
}

async function startNode(maxEntries = 1_000): Promise<{ node: SimulatedNode; clock: CountingClock }> {
  const clock = new CountingClock()
  return { node: await startSimulatedNode({ clock, slots: 2 ** 22, cache: { maxEntries } }), clock }
}

const removalsOf = ({ written }: SimulatedNode) => written.map((event) => (event as CacheInvalidated).payload)

describe('a call with very many keys', () => {
  test('loads at most 1,000 keys at a time, and yields to the event loop in between', async () => {
    const { node, clock } = await startNode()
    const asked: number[] = []
    const keys = keysOf(20_001)
    const found = await node.cache.getMany(keys, (missing) => {
      asked.push(missing.length)
      return load(missing)
    })
    expect(found.size).toBe(keys.length)
    expect([...found.keys()]).toEqual(keys)
    expect(found.get('key-20000')).toEqual(thingOf('key-20000'))
    expect(Math.max(...asked)).toBe(1_000)
    expect(asked).toHaveLength(21)
    expect(clock.turns).toBeGreaterThanOrEqual(20)
  })

  test('stamps each of these loads at its own begin', async () => {
    const { node } = await startNode()
    let calls = 0
    await node.cache.getMany(keysOf(2_000), async (missing) => {
      // Applied before the second load begins, which therefore sees it.
      if (++calls === 1) await node.apply({ keys: ['key-0', 'key-1999'] })
      return load(missing)
    })
    expect(node.cache.peek('key-0')).toBeUndefined()
    expect(node.cache.peek('key-1999')).toEqual(thingOf('key-1999'))
  })

  test.each<[string, (work: () => Promise<unknown>) => Promise<unknown>]>([
    ['', (work) => work()],
    [', inside a unit of work, too', (work) => runInScope(new TransactionScope({} as never), work)],
  ])('loads no more keys once its caller has given up%s', async (_, run) => {
    const { node } = await startNode()
    const impatience = new AbortController()
    const asked: number[] = []
    const reading = run(() =>
      node.cache.getMany(
        keysOf(5_000),
        (missing) => {
          asked.push(missing.length)
          impatience.abort(new Error('Gave up'))
          return load(missing)
        },
        { signal: impatience.signal },
      ),
    )
    await expect(reading).rejects.toThrow('Gave up')
    expect(asked).toEqual([1_000])
  })

  test('sets, removes and expires with at most 1,000 keys in each message', async () => {
    const { node, clock } = await startNode(3_000)
    const { cache } = node
    const keys = keysOf(2_500)
    await cache.setMany(
      keys.map((key) => [key, thingOf(key)]),
      { stamp: cache.capture() },
    )
    const held = () => keys.filter((key) => cache.peek(key) !== undefined).length
    // A few keys may share a slot of the invalidation table with others.
    expect(held()).toBeGreaterThan(2_400)
    const before = clock.turns
    await cache.removeMany(keys)
    expect(held()).toBe(0)
    await cache.expireMany(keys)
    expect(clock.turns).toBeGreaterThanOrEqual(before + 4)
    const sizes = removalsOf(node).map((payload) => payload.keys?.length)
    expect(sizes).toEqual([1_000, 1_000, 500, 1_000, 1_000, 500, 1_000, 1_000, 500])
  })

  test('that sets only values that may not be kept removes the keys instead, 1,000 in each message', async () => {
    const { node } = await startNode()
    await node.cache.setMany(
      keysOf(3_000).map((key) => [key, null]),
      { stamp: node.cache.capture() },
    )
    expect(removalsOf(node).map(({ keys, mode }) => [keys?.length, mode])).toEqual(
      Array(3).fill([1_000, undefined]),
    )
  })

  test('that names very many tags sends at most 1,000 in each message', async () => {
    const { node } = await startNode()
    await node.cache.removeByTag(...keysOf(2_500))
    expect(removalsOf(node).map(({ tags }) => tags?.length)).toEqual([1_000, 1_000, 500])
  })
})

describe('getMany', () => {
  test('counts a key that is given twice as one read', async () => {
    const { node } = await startNode()
    await node.cache.getMany(['a', 'a'], load)
    expect(node.cache.statistics.misses).toBe(1)
  })

  test('answers nothing that is older than the token of its request', async () => {
    const { node } = await startNode()
    await node.cache.getMany(['a'], async () => new Map([['a', 'old']]))
    node.journal.commit('test.happened', { keys: ['a'] })
    await node.journal.number(1)
    const consistency = node.request({ epoch: node.journal.epoch, position: node.journal.head })
    const found = await node.cache.getMany<unknown>(['a'], load, { consistency })
    expect(found.get('a')).toEqual(thingOf('a'))
  })

  test('tells the request which tier has answered a hit, and gives a copy to the caller who asks for one', async () => {
    const { node } = await startNode()
    await node.cache.getMany(['a'], load)
    const consistency = node.request()
    const found = await node.cache.getMany(['a'], load, { consistency, entry: { clone: true } })
    expect(consistency.source).toBe('l1')
    found.get('a')!.of = 'changed'
    expect(node.cache.peek('a')).toEqual(thingOf('a'))
  })

  test('does not look into memory if its options say so', async () => {
    const { node } = await startNode()
    await node.cache.getMany(['a'], load)
    const found = await node.cache.getMany<unknown>(['a'], async () => new Map([['a', 'new']]), {
      entry: { skipL1Read: true },
    })
    expect(found.get('a')).toBe('new')
  })

  test('loads anew only the one key for which the load that it has joined is too old', async () => {
    const { node } = await startNode()
    const gate = new Gate()
    const asked: string[][] = []
    const options = { tagsOf: ({ of }: { of: string }) => [`tag-of-${of}`] }
    const read = (opened?: Promise<void>) =>
      node.cache.getMany(
        ['a', 'b'],
        async (missing) => {
          asked.push([...missing])
          await opened
          return load(missing)
        },
        options,
      )
    const first = read(gate.opened)
    await settle()
    await node.apply({ tags: ['tag-of-a'] })
    const second = read()
    await settle()
    gate.open()
    await Promise.all([first, second])
    expect(asked).toEqual([['a', 'b'], ['a']])
  })
})

describe('a key that `loadMissing` leaves out', () => {
  test('has no tags of a value, and the other keys keep theirs', async () => {
    const { node } = await startNode()
    const options = { tagsOf: ({ of }: { of: string }) => [`tag-of-${of}`] }
    const found = await node.cache.getMany(['a', 'b'], async () => new Map([['a', thingOf('a')]]), options)
    expect([...found]).toEqual([['a', thingOf('a')]])
    await node.apply({ tags: ['tag-of-a'] })
    expect(node.cache.peek('a')).toBeUndefined()
  })

  test('is kept as absent with the tags of the call, if an event says when it exists', async () => {
    const node = await startSimulatedNode({ cache: { cacheAbsent: true } })
    let calls = 0
    const leaveOut = async () => {
      calls++
      return new Map<string, { of: string }>()
    }
    const options = { tags: ['known'], tagsOf: ({ of }: { of: string }) => [of] }
    for (let round = 0; round < 2; round++)
      expect(await node.cache.getMany(['a'], leaveOut, options)).toEqual(new Map())
    expect(calls).toBe(1)
    await node.apply({ tags: ['known'] })
    await node.cache.getMany(['a'], leaveOut, options)
    expect(calls).toBe(2)
  })
})

describe('many reads with one signal', () => {
  test('share one listener, so that Node warns of no leak, and are all given up by it', async () => {
    const { node } = await startNode()
    const impatience = new AbortController()
    const { signal } = impatience
    const hanging = () => new Promise<never>(() => {})
    const reads: Promise<unknown>[] = [node.cache.getMany(keysOf(50), hanging, { signal })]
    for (let index = 0; index < 50; index++)
      reads.push(node.cache.getOrCreate(`alone-${index}`, hanging, { signal }))
    const givenUp = Promise.allSettled(reads)
    await systemClock.nextTurn()
    expect(getEventListeners(signal, 'abort')).toHaveLength(1)
    impatience.abort(new Error('Gave up'))
    for (const outcome of await givenUp)
      expect(outcome).toMatchObject({ status: 'rejected', reason: new Error('Gave up') })
  })

  test('leave no listener on a signal that outlives them', async () => {
    const { node } = await startNode()
    const { signal } = new AbortController()
    const reads = keysOf(20).map((key) => node.cache.getOrCreate(key, async () => key, { signal }))
    await Promise.all(reads)
    expect(getEventListeners(signal, 'abort')).toEqual([])
  })
})
