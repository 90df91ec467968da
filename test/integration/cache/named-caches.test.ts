import { randomUUID } from 'node:crypto'
import { expect, test } from '@jest/globals'
import { type CacheDeclaration, Caches, declareCache } from '../../../src/kernel/cache/caches.js'
import type { ServiceModule } from '../../../src/kernel/cqrs/module.js'
import { on } from '../../../src/kernel/journal/invalidation-rules.js'
import type { Node } from '../../../src/node.js'
import { modules } from '../../../src/service-modules.js'
import { overEveryTopology, ThingChanged } from '../../support/cache-cluster.js'
import { newCacheInStep, untilExpired, untilInL2 } from '../../support/cache-reads.js'
import { CountedLoads } from '../../support/counted-loads.js'
import { startTestNode } from '../../support/test-node.js'
import { until } from '../../support/until.js'

interface Rate {
  readonly perUnit: number
}

const nameOfOwn = (what: string) => `${what}-${randomUUID()}`

function moduleWith(...caches: CacheDeclaration<unknown, never>[]): ServiceModule {
  return {
    name: 'thing',
    events: [ThingChanged],
    caches,
  }
}

overEveryTopology('named caches', (cluster, { tiers }) => {
  const node = (index: number) => cluster().nodes.at(index) as Node

  test('each keep to their own options', async () => {
    const brief = await newCacheInStep(cluster(), { l1TtlMs: 40, l2TtlMs: 40 })
    const long = await newCacheInStep(cluster())
    const small = await newCacheInStep(cluster(), { maxEntries: 2 })
    const loads = new CountedLoads()
    for (const [cache] of [brief, long]) await cache.getOrCreate('a', loads.load)
    for (const key of ['a', 'b', 'c', 'd']) await small[0].getOrCreate(key, loads.load)
    await untilExpired(brief[0], 'a')
    expect(await long[0].get('a')).toBe('load 2')
    expect(small[0].inMemory.entries).toBe(tiers === 'L2 only' ? 0 : 2)
    expect(long[0].inMemory.entries).toBe(tiers === 'L2 only' ? 0 : 1)
  })

  test('a call’s options come before its cache’s, and are no other call’s', async () => {
    const [cache] = await newCacheInStep(cluster())
    const loads = new CountedLoads()
    await cache.getOrCreate('brief', loads.load, { entry: { l1TtlMs: 40, l2TtlMs: 40 } })
    await cache.getOrCreate('long', loads.load)
    await untilExpired(cache, 'brief')
    expect(await cache.get('long')).toBe('load 2')
  })

  test('keep the same key apart in both tiers', async () => {
    const users = await newCacheInStep(cluster())
    const orders = await newCacheInStep(cluster())
    await users[0].getOrCreate('42', async () => 'a user')
    await orders[0].getOrCreate('42', async () => 'an order')
    if (tiers !== 'L1 only') {
      await untilInL2(users.at(-1)!, '42')
      await untilInL2(orders.at(-1)!, '42')
    }
    for (const index of tiers === 'L1 only' ? [0] : users.keys()) {
      expect(await users[index]!.get('42')).toBe('a user')
      expect(await orders[index]!.get('42')).toBe('an order')
    }
  })

  test.each(['remove', 'expire'] as const)(
    'keep the same key apart when one of them is to %s it',
    async (how) => {
      const users = await newCacheInStep(cluster())
      const orders = await newCacheInStep(cluster())
      for (const cache of users) await cache.getOrCreate('42', async () => 'a user')
      for (const cache of orders) await cache.getOrCreate('42', async () => 'an order')
      await users.at(-1)![how]('42')
      await cluster().inStep()
      for (const cache of users) expect(await cache.get('42')).toBeUndefined()
      for (const cache of orders) expect(await cache.get('42')).toBe('an order')
    },
  )

  test('that declare the same write are stale from one moment on, and only by their own declarations', async () => {
    const names = await newCacheInStep(cluster())
    const totals = await newCacheInStep(cluster())
    const untouched = await newCacheInStep(cluster(), { invalidatedBy: [] })
    const all = [names, totals, untouched]
    for (const caches of all) for (const cache of caches) await cache.getOrCreate('a', async () => 'old')
    const peeks = (index: number) => all.map((caches) => caches[index]!.peek('a'))
    const seen = new Set<string>()
    const { applied } = node(-1).parts
    const stop = applied.onMessage(({ type }) => {
      if (type !== ThingChanged.eventName) return
      seen.add(`at ${peeks(-1 + names.length)}`)
      queueMicrotask(() => seen.add(`then ${peeks(-1 + names.length)}`))
    })
    await cluster().change({ keys: ['a'] })
    stop()
    const inMemory = tiers === 'L2 only' ? undefined : 'old'
    expect([...seen]).toEqual([
      `at ${[inMemory, inMemory, inMemory]}`,
      `then ${[undefined, undefined, inMemory]}`,
    ])
    for (const index of names.keys()) {
      expect(await names[index]!.get('a')).toBeUndefined()
      expect(await totals[index]!.get('a')).toBeUndefined()
      expect(await untouched[index]!.get('a')).toBe('old')
    }
  })

  test('are listed in a module, and had by handlers through their declaration, with its types', async () => {
    const rates = declareCache<Rate, `${string}/${string}`>({
      name: nameOfOwn('rates'),
      invalidatedBy: [on(ThingChanged, ({ keys = [] }) => ({ keys }))],
    })
    const names = declareCache<string>({
      name: nameOfOwn('names'),
      createdBy: [on(ThingChanged, () => ({}))],
    })
    const offered = [...modules, moduleWith(rates, names)]
    const started = await startTestNode(cluster().database, { offered, redis: tiers !== 'L1 only' })
    try {
      const caches = started.parts.container.get(Caches)
      const cache = caches.of(rates)
      expect(cache.name).toBe(rates.name)
      expect(caches.of(rates)).toBe(cache)
      const rate: Rate = await cache.getOrCreate('EUR/CHF', async () => ({ perUnit: 2 }))
      expect(rate.perUnit).toBe(2)
      const name: string | undefined = await caches.of(names).get('EUR')
      expect(name).toBeUndefined()
      // @ts-expect-error a key that is none of this cache's
      expect(await cache.get('EUR')).toBeUndefined()
      await started.parts.outbox.write([new ThingChanged({ keys: ['EUR/CHF'] })])
      await started.parts.check.run()
      expect(await cache.get('EUR/CHF')).toBeUndefined()
    } finally {
      await started.stop()
    }
  })

  test('that no module lists cannot be had, and the error says so', () => {
    const stray = declareCache<string>({ name: nameOfOwn('stray') })
    expect(() => node(0).parts.caches.of(stray)).toThrow(
      new TypeError(`The cache "${stray.name}" is listed in no module's \`caches\``),
    )
  })

  test('of one name are refused, also by a node that is to start with them', async () => {
    const declared = declareCache<string>({ name: nameOfOwn('twice') })
    const refusal = new TypeError(`There are two caches of the name "${declared.name}"`)
    const { caches } = node(0).parts
    caches.add(declared)
    expect(() => caches.add(declareCache<number>({ name: declared.name }))).toThrow(refusal)
    const offered = [...modules, moduleWith(declared), { ...moduleWith(declared), name: 'another' }]
    await expect(startTestNode(cluster().database, { offered, redis: false })).rejects.toThrow(refusal)
  })

  test('cannot take the name of a query, which has a cache already', async () => {
    const offered = [...modules, moduleWith(declareCache<string>({ name: 'GetUser' }))]
    await expect(startTestNode(cluster().database, { offered, redis: false })).rejects.toThrow(
      'There are two caches of the name "GetUser"',
    )
  })

  test.each(['a:b', '', ' ', 'a b', 'a*', 'a\n', 'é', 'a/b', 'a'.repeat(129)])(
    'cannot be named %j, which would not be one prefix of keys',
    (name) => {
      expect(() => node(0).parts.caches.add(declareCache<string>({ name }))).toThrow(
        new TypeError(`"${name}" cannot be the name of a cache`),
      )
    },
  )

  test('with an option out of range are refused by an error that names it', () => {
    const declared = declareCache<string>({ name: nameOfOwn('hasty'), hardTimeoutMs: -1 })
    const { caches } = node(0).parts
    expect(() => caches.add(declared)).toThrow(new RangeError('hardTimeoutMs is a number of ms, not -1'))
    // It was not added by halves.
    caches.add(declareCache<string>({ name: declared.name }))
  })

  test('hold no more than their own limits, whatever the others hold', async () => {
    const [cache] = await newCacheInStep<string>(cluster(), { maxEntries: 3 })
    const [other] = await newCacheInStep<string>(cluster())
    for (let index = 0; index < 20; index++) {
      await cache.getOrCreate(`${index}`, async () => 'value')
      await other.getOrCreate(`${index}`, async () => 'value')
    }
    await until('L1 has made room', () => cache.inMemory.entries <= 3)
    expect(other.inMemory.entries).toBe(tiers === 'L2 only' ? 0 : 20)
  })
})
