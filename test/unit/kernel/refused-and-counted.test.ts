import { describe, expect, test } from '@jest/globals'
import { CacheEvents } from '../../../src/kernel/cache/cache-events.js'
import type { LoadContext } from '../../../src/kernel/cache/load-context.js'
import { systemClock } from '../../../src/kernel/clock.js'
import { Gate } from '../../support/gate.js'
import { silentLogger } from '../../support/silent-logger.js'
import { maxStalenessMs, type SimulatedNode, startSimulatedNode } from '../../support/simulated-node.js'

const down = () => Promise.reject(new Error('the origin is down'))

describe('a tag that an event cannot carry', () => {
  test.each([
    ['because it has a NUL', 'a\0b'],
    ['because it has half a surrogate pair', '\ud800'],
    ['because it is not a string', 5 as unknown as string],
  ])('%s is refused wherever it is given, and nothing is kept under it', async (_, tag) => {
    const { cache, written } = await startSimulatedNode()
    const refusal = expect.objectContaining({
      name: 'TypeError',
      message: expect.stringContaining('A tag is text'),
    })
    let loads = 0
    const load = async () => `load ${++loads}`
    await expect(cache.getOrCreate('a', load, { tags: ['fine', tag] })).rejects.toEqual(refusal)
    expect(loads).toBe(0)
    await expect(cache.getOrCreate('a', load, { tagsOf: () => [tag] })).rejects.toEqual(refusal)
    const tagging = async (context: LoadContext) => {
      context.tag(tag)
      return 'value'
    }
    await expect(cache.getOrCreate('a', tagging)).rejects.toEqual(refusal)
    const many = async () => new Map([['a', 'value']])
    await expect(cache.getMany(['a'], many, { tags: [tag] })).rejects.toEqual(refusal)
    await expect(cache.getMany(['a'], many, { tagsOf: () => [tag] })).rejects.toEqual(refusal)
    await expect(cache.set('a', 'value', { stamp: cache.capture(), tags: [tag] })).rejects.toEqual(refusal)
    await expect(cache.removeByTag('fine', tag)).rejects.toEqual(refusal)
    await expect(cache.expireByTag(tag)).rejects.toEqual(refusal)
    expect(written).toEqual([])
    expect(await cache.get('a')).toBeUndefined()
  })
})

describe('a key that an event cannot carry', () => {
  test.each(['a\0b', '\udc01'])(
    '(%j) is left out of what is removed, expired and set; the others are not',
    async (key) => {
      const node = await startSimulatedNode()
      const { cache } = node
      const told: string[] = []
      node.events.on('notStored', ({ key: of, reason }) => told.push(`${JSON.stringify(of)} ${reason}`))
      await cache.remove(key)
      await cache.expire(key)
      expect(node.written).toEqual([])
      await cache.getOrCreate('b', async () => 'old')
      await cache.removeMany([key, 'b'])
      expect(cache.peek('b')).toBeUndefined()
      await cache.setMany(
        [
          [key, 'set'],
          ['b', 'set'],
        ],
        { stamp: cache.capture() },
      )
      expect(cache.peek('b')).toBe('set')
      expect(await cache.get(key)).toBeUndefined()
      expect(told).toEqual([`${JSON.stringify(key)} key-not-text`])
    },
  )
})

describe('each read is counted once', () => {
  const sumOf = ({ statistics }: SimulatedNode['cache']) => {
    const { l1Hits, l2Hits, misses, bypasses, staleServed, madeOfStale, failedReads } = statistics
    return l1Hits + l2Hits + misses + bypasses + staleServed + madeOfStale + failedReads
  }

  test('as failed if it fails, takes too long, or is given up', async () => {
    const node = await startSimulatedNode()
    const { cache, clock } = node
    await expect(cache.getOrCreate('a', down)).rejects.toThrow()
    await expect(cache.getMany(['a', 'b'], down)).rejects.toThrow()
    const hanging = cache.getOrCreate('c', () => new Promise<never>(() => {}), {
      entry: { hardTimeoutMs: 10 },
    })
    await systemClock.nextTurn()
    clock.advance(10)
    await expect(hanging).rejects.toThrow('took longer')
    const signal = AbortSignal.abort(new Error('Gave up'))
    await expect(cache.getOrCreate('d', down, { signal })).rejects.toThrow('Gave up')
    expect(cache.statistics).toMatchObject({ failedReads: 5, misses: 0 })
    await cache.getOrCreate('a', async () => 'a')
    expect(sumOf(cache)).toBe(6)
  })

  test('as a hit if it has waited for the lease and memory has the value, and as a bypass if there is no lease', async () => {
    for (const renews of [true, false]) {
      const node = await startSimulatedNode({ renews })
      for (let read = 0; read < 2; read++) {
        await node.cache.getOrCreate('a', async () => 'a')
        node.clock.advance(maxStalenessMs)
      }
      const { statistics } = node.cache
      expect(statistics).toMatchObject({ misses: 1, l1Hits: renews ? 1 : 0, bypasses: renews ? 0 : 1 })
      expect(sumOf(node.cache)).toBe(2)
    }
  })

  test('as made of stale if its load read a stale value', async () => {
    const node = await startSimulatedNode({ entry: { failSafe: true, l1TtlMs: 10, l2TtlMs: 10 } })
    const { cache } = node
    await cache.getOrCreate('inner', async () => 'old')
    node.clock.advance(11)
    const outer = await cache.getOrCreate('outer', async () => `of ${await cache.getOrCreate('inner', down)}`)
    expect(outer).toBe('of old')
    expect(cache.statistics).toMatchObject({ staleServed: 1, madeOfStale: 1, misses: 1 })
    expect(sumOf(cache)).toBe(3)
  })
})

test('a listener whose promise rejects is logged, and causes no unhandled rejection', async () => {
  const logged: unknown[] = []
  const reported = new Gate()
  const logger = Object.assign(Object.create(silentLogger), {
    error: (fields: object, line: string) => {
      logged.push([fields, line])
      reported.open()
    },
  })
  const events = new CacheEvents(logger)
  const trouble = new Error('the listener fails')
  events.on('miss', async () => {
    await systemClock.nextTurn()
    throw trouble
  })
  events.emit('miss', { cache: 'things', key: 'a' })
  await reported.opened
  expect(logged).toEqual([[{ err: trouble, event: 'miss' }, 'a listener of cache events threw']])
})
