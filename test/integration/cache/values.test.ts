import { describe, expect, test } from '@jest/globals'
import { on } from '../../../src/kernel/journal/invalidation-rules.js'
import type { Node } from '../../../src/node.js'
import { overEveryTopology, ThingChanged } from '../../support/cache-cluster.js'
import { newCacheInStep, untilInL2 } from '../../support/cache-reads.js'
import { CountedLoads } from '../../support/counted-loads.js'
import { until } from '../../support/until.js'

class Account {
  constructor(readonly owner: string) {}

  greet(): string {
    return `Hello ${this.owner}`
  }
}

const cyclic: { name: string; self?: unknown } = { name: 'cyclic' }
cyclic.self = cyclic

/** Each made anew, as what a factory returns belongs to the cache. */
const values: readonly (readonly [title: string, make: () => unknown])[] = [
  ['zero', () => 0],
  ['minus zero', () => -0],
  ['NaN', () => Number.NaN],
  ['an empty text', () => ''],
  ['a text beyond ASCII', () => 'Zürich 🎉 \u2028 \u0000 日本'],
  ['false', () => false],
  ['nested objects and arrays', () => ({ a: { b: [1, { c: null }, [], {}] }, d: 'e' })],
  ['a date', () => new Date(86_400_000)],
  ['a date inside', () => ({ at: [new Date(1)] })],
  ['a map', () => new Map<unknown, unknown>([['a', new Map([[1, { b: 2 }]])]])],
  ['a set', () => new Set(['a', 1, null])],
  ['a bigint', () => 2n ** 80n],
  ['bytes and a bigint inside', () => ({ bytes: new Uint8Array([1]), amount: -1n })],
  ['a buffer', () => Buffer.from([0, 255, 128])],
  ['bytes', () => new Uint8Array([0, 255, 128])],
  ['undefined inside', () => ({ a: undefined, b: [undefined, 1] })],
  ['a key named __proto__', () => JSON.parse('{"__proto__": {"admin": true}, "a": 1}')],
  ['a cycle', () => structuredClone(cyclic)],
  ['a hundred thousand entries', () => Array.from({ length: 100_000 }, (_, index) => index)],
]

const keys: readonly (readonly [title: string, key: string])[] = [
  ['an emoji', '🎉👩‍👩‍👧'],
  ['a line separator', 'a\u2028b\u2029c'],
  ['colons', 'a:b::c:'],
  ['a name of Object.prototype', '__proto__'],
  ['nothing at all', ''],
  ['spaces and line breaks', ' a\r\nb\t'],
  ['a pattern of Redis', '*?[a-z]\\'],
  ['as many characters as there may be', 'ü'.repeat(1_024)],
]

/** A busy machine must not make L2's answers into misses. */
const patient = { entry: { l2SoftTimeoutMs: 10_000, l2HardTimeoutMs: 10_000 } }

overEveryTopology('values', (cluster, { tiers, nodeCount }) => {
  const node = (index: number) => cluster().nodes.at(index) as Node
  const hasL1 = tiers !== 'L2 only'
  const hasL2 = tiers !== 'L1 only'

  test.each(values)('come back as they were, from each tier: %s', async (_, make) => {
    const caches = await newCacheInStep(cluster())
    const load = async () => make()
    expect(await caches[0].getOrCreate('a', load, patient)).toEqual(make())
    if (hasL2) for (const cache of caches) await untilInL2(cache, 'a')
    for (const cache of caches) {
      for (let round = 0; round < 2; round++) {
        const value = await cache.getOrCreate('a', load, patient)
        expect(value).toEqual(make())
        expect(Object.prototype.toString.call(value)).toBe(Object.prototype.toString.call(make()))
        expect(Buffer.isBuffer(value)).toBe(Buffer.isBuffer(make()))
        expect(Object.is(value, -0)).toBe(Object.is(make(), -0))
      }
    }
    const loads = caches.reduce((sum, { statistics }) => sum + statistics.loads, 0)
    expect(loads).toBe(hasL2 ? 1 : nodeCount)
  })

  test('undefined inside an object is still one of its properties', async () => {
    const caches = await newCacheInStep<object>(cluster())
    await caches[0].getOrCreate('a', async () => ({ given: undefined }))
    if (hasL2) for (const cache of caches) await untilInL2(cache, 'a')
    for (const cache of caches)
      expect(Object.keys(await cache.getOrCreate('a', async () => ({ given: undefined })))).toEqual(['given'])
  })

  test('null is kept where an event tells when there is something, and nowhere else', async () => {
    const createdBy = [on(ThingChanged, ({ keys = [] }) => ({ keys }))]
    for (const settings of [{ createdBy, invalidatedBy: [] }, {}]) {
      const caches = await newCacheInStep(cluster(), settings)
      let loads = 0
      const load = async () => {
        loads++
        return null
      }
      const [cache] = caches
      expect(await cache.getOrCreate('a', load)).toBeNull()
      if ('createdBy' in settings) {
        if (hasL2) await until('L2 has it', async () => (await caches.at(-1)!.get('a')) === null)
        expect(await cache.getOrCreate('a', load)).toBeNull()
        expect(loads).toBe(1)
        await cluster().change({ keys: ['a'] })
        expect(await cache.getOrCreate('a', load)).toBeNull()
        expect(loads).toBe(2)
      } else {
        expect(await cache.getOrCreate('a', load)).toBeNull()
        expect(loads).toBe(2)
      }
    }
  })

  test('an instance of a class lives in memory only, as copies that keep its class, and the event says why', async () => {
    const caches = await newCacheInStep<Account>(cluster())
    const [cache] = caches
    const told: unknown[] = []
    const stop = node(0).parts.caches.events.on('notStored', (event) => told.push(event))
    const account = await cache.getOrCreate('account', async () => new Account('Ada'))
    expect(account.greet()).toBe('Hello Ada')
    stop()
    const refusal = { cache: cache.name, key: 'account', tier: 'l2', reason: 'not-serialisable' }
    expect(told).toEqual(hasL2 ? [refusal] : [])
    expect(cache.peek('account')?.greet()).toBe(hasL1 ? 'Hello Ada' : undefined)
    if (nodeCount > 1) expect(await caches[1]!.get('account')).toBeUndefined()
  })

  test('what is no data is answered as it is, and not kept, and the event says where that is', async () => {
    const [cache] = await newCacheInStep<{ at: Date; link: URL }>(cluster())
    const told: unknown[] = []
    const stop = node(0).parts.caches.events.on('notStored', (event) => told.push(event))
    const value = { at: new Date(5), link: new URL('http://a.example') }
    expect(await cache.getOrCreate('a', async () => value)).toBe(value)
    stop()
    const detail = expect.stringContaining('value.link is an instance of URL')
    expect(told).toEqual([{ cache: cache.name, key: 'a', tier: 'l1', reason: 'not-cloneable', detail }])
    expect(Object.isFrozen(value)).toBe(false)
    expect(await cache.get('a')).toBeUndefined()
  })

  describe('what a caller does to a value reaches nobody else:', () => {
    test('objects are frozen all the way down', async () => {
      const caches = await newCacheInStep<{ list: { n: number }[] }>(cluster())
      const load = async () => ({ list: [{ n: 1 }] })
      await caches[0].getOrCreate('a', load)
      if (hasL2) for (const cache of caches) await untilInL2(cache, 'a')
      for (const cache of caches) {
        for (let round = 0; round < 2; round++) {
          const value = await cache.getOrCreate('a', load)
          expect(() => value.list.push({ n: 2 })).toThrow(TypeError)
          expect(() => {
            value.list[0]!.n = 2
          }).toThrow(TypeError)
          expect(() => {
            value.list = []
          }).toThrow(TypeError)
        }
        expect(await cache.getOrCreate('a', load)).toEqual({ list: [{ n: 1 }] })
      }
    })

    test('dates, maps, sets and bytes are copies', async () => {
      const caches = await newCacheInStep<ReturnType<typeof make>>(cluster())
      const make = () => ({
        date: new Date(0),
        map: new Map([['a', { n: 1 }]]),
        set: new Set([1]),
        buffer: Buffer.from('abc'),
        bytes: new Uint8Array([1, 2]),
      })
      const parts = ({ date, map, set, buffer, bytes }: ReturnType<typeof make>) => [
        date.getTime(),
        [...map],
        [...set],
        buffer.toString(),
        [...bytes],
      ]
      const load = async () => make()
      await caches[0].getOrCreate('a', load)
      if (hasL2) for (const cache of caches) await untilInL2(cache, 'a')
      for (const cache of caches) {
        for (let round = 0; round < 3; round++) {
          const value = await cache.getOrCreate('a', load)
          expect(parts(value)).toEqual(parts(make()))
          value.date.setFullYear(1900)
          value.map.get('a')!.n = 2
          value.map.set('b', { n: 3 })
          value.set.clear()
          value.buffer.fill(0)
          value.bytes[0] = 9
        }
        expect(parts(await cache.getOrCreate('a', load))).toEqual(parts(make()))
      }
    })

    test('with clone, each has its own, from the first on', async () => {
      const caches = await newCacheInStep<{ list: number[] }>(cluster(), { clone: true })
      const load = async () => ({ list: [1] })
      const readers = [caches[0], ...caches]
      for (const cache of readers) {
        const both = await Promise.all([cache.getOrCreate('a', load), cache.getOrCreate('a', load)])
        for (const value of both) {
          expect(value).toEqual({ list: [1] })
          value.list.push(2)
        }
        const many = await cache.getMany(['a'], async () => new Map([['a', { list: [1] }]]))
        expect(many.get('a')).toEqual({ list: [1] })
        many.get('a')!.list.push(3)
      }
    })

    test('a call may ask for a copy of its own, whoever has loaded the value', async () => {
      const [cache] = await newCacheInStep<{ list: number[] }>(cluster())
      const load = async () => ({ list: [1] })
      const shared = await cache.getOrCreate('a', load)
      if (hasL2) await untilInL2(cache, 'a')
      const mine = await cache.getOrCreate('a', load, { entry: { clone: true } })
      mine.list.push(2)
      expect(shared).toEqual({ list: [1] })
      expect(await cache.getOrCreate('a', load)).toEqual({ list: [1] })
    })

    test('nor does what a factory does to its own object afterwards', async () => {
      const [cache] = await newCacheInStep<{ n: number; inner: { at: Date; n: number } }>(cluster())
      const own = { n: 1, inner: { at: new Date(0), n: 1 } }
      await cache.getOrCreate('a', async () => own)
      own.inner.at.setFullYear(1900)
      own.inner.n = 2
      if (hasL2) await untilInL2(cache, 'a')
      expect(await cache.get('a')).toEqual({ n: 1, inner: { at: new Date(0), n: 1 } })
    })

    test('nor does what is done to a value after it was set', async () => {
      const [cache] = await newCacheInStep<{ list: number[]; map: Map<string, number> }>(cluster())
      const own = { list: [1], map: new Map([['a', 1]]) }
      await cache.set('a', own, { stamp: cache.capture() })
      own.map.set('a', 2)
      own.list.push(2)
      if (hasL2) await untilInL2(cache, 'a')
      expect(await cache.get('a')).toEqual({ list: [1], map: new Map([['a', 1]]) })
    })
  })

  test.each(keys)('are found again under a key of %s, and removed', async (_, key) => {
    const caches = await newCacheInStep(cluster())
    const loads = new CountedLoads()
    const first = await caches[0].getOrCreate(key, loads.load)
    if (hasL2) for (const cache of caches) await untilInL2(cache, key)
    expect(await caches[0].getOrCreate(key, loads.load)).toBe(first)
    if (hasL2) expect(await caches.at(-1)!.getOrCreate(key, loads.load)).toBe(first)
    await caches.at(-1)!.remove(key)
    await cluster().inStep()
    for (const cache of caches) expect(await cache.get(key)).toBeUndefined()
  })

  test('under two keys that UTF-8 cannot tell apart are not taken for each other', async () => {
    const caches = await newCacheInStep(cluster())
    // Halves of pairs, which stand for no character.
    const [one, other] = ['\ud800', '\udc01'] as const
    await caches[0].getOrCreate(one, async () => 'one')
    await caches[0].getOrCreate('marker', async () => 'marker')
    if (hasL2) await untilInL2(caches.at(-1)!, 'marker')
    expect(await caches.at(-1)!.getOrCreate(other, async () => 'other')).toBe('other')
  })

  test('under the character that stands for no character are not given to who asks for such a half', async () => {
    const caches = await newCacheInStep(cluster())
    await caches[0].getOrCreate('\ufffd', async () => 'replacement')
    if (hasL2) await untilInL2(caches.at(-1)!, '\ufffd')
    const last = caches.at(-1)!
    expect(await last.getOrCreate('\ud800', async () => 'half')).toBe('half')
    const many = await last.getMany(
      ['\ud800', '\ufffd'],
      async (keys) => new Map(keys.map((key) => [key, 'half'])),
    )
    expect(many.get('\ud800')).toBe('half')
  })

  test('under a key that is too long are loaded each time, and the event says why', async () => {
    const [cache] = await newCacheInStep(cluster())
    const key = 'a'.repeat(1_025)
    const loads = new CountedLoads()
    const told: unknown[] = []
    const stop = node(0).parts.caches.events.on('notStored', ({ reason }) => told.push(reason))
    for (const number of [1, 2]) expect(await cache.getOrCreate(key, loads.load)).toBe(`load ${number}`)
    await cache.getMany([key], async () => new Map([[key, await loads.load()]]))
    await cache.set(key, 'set', { stamp: cache.capture() })
    stop()
    expect(told).toEqual(Array(4).fill('key-too-long'))
    expect(await cache.get(key)).toBeUndefined()
    expect(cache.inMemory.entries).toBe(0)
  })

  test('a cache may set its own limit to keys', async () => {
    const [cache] = await newCacheInStep(cluster(), { maxKeyLength: 3 })
    const loads = new CountedLoads()
    for (const key of ['abc', 'abcd', 'abcd']) await cache.getOrCreate(key, loads.load)
    if (hasL2) await untilInL2(cache, 'abc')
    expect(await cache.get('abc')).toBe('load 1')
    expect(await cache.get('abcd')).toBeUndefined()
    expect(loads.count).toBe(3)
  })
})
