import { describe, expect, test } from '@jest/globals'
import type { Caches } from '../../../src/kernel/cache/caches.js'
import { defaultEntryOptions } from '../../../src/kernel/cache/entry-options.js'
import { HybridCache } from '../../../src/kernel/cache/hybrid-cache.js'
import type { HandlerRegistry } from '../../../src/kernel/cqrs/handler-registry.js'
import { query } from '../../../src/kernel/cqrs/message.js'
import { QueryBus } from '../../../src/kernel/cqrs/query-bus.js'
import { DomainError } from '../../../src/kernel/domain/domain-error.js'
import { z } from '../../../src/kernel/domain/index.js'
import {
  runInScope,
  type TransactionResources,
  TransactionScope,
} from '../../../src/kernel/persistence/transaction-scope.js'
import { Gate, settle } from '../../support/gate.js'
import { InMemoryTier } from '../../support/in-memory-tier.js'
import { maxStalenessMs, type SimulatedNode, startSimulatedNode } from '../../support/simulated-node.js'

class Deep extends query(z.object({})).returning<string>() {}

/** A node, a second cache for values that are made from cached reads, and the reads that a load may make. */
async function started(simulation: Parameters<typeof startSimulatedNode>[0] = {}) {
  const node = await startSimulatedNode(simulation)
  const pages = new HybridCache(
    {
      name: 'Page',
      declaration: 'd1',
      maxEntries: 10,
      cacheAbsent: false,
      maxKeyLength: 1_024,
      entry: { ...defaultEntryOptions, clusterSingleFlight: false },
    },
    node.dependencies,
  )
  return { node, pages, ...readsOf(node) }
}

/** Reads of `rate`, which is made from the cached value `deep` and has a tag of each kind. */
function readsOf(node: SimulatedNode) {
  const row = { version: 1 }
  const { cache } = node
  const load = async ({ tag }: { tag(...tags: string[]): void }): Promise<string> => {
    tag('learnt')
    const deep = await cache.getOrCreate('deep', async () => `deep ${row.version}`)
    return `rate ${row.version} of ${deep}`
  }
  const options = { tags: ['declared'], tagsOf: () => ['following'] }
  const loadMany = async (keys: readonly string[]) => {
    const deep = await cache.getOrCreate('deep', async () => `deep ${row.version}`)
    return new Map(keys.map((key) => [key, `rate ${row.version} of ${deep}`]))
  }
  const one = () => cache.getOrCreate<unknown>('rate', load, options)
  const many = async () => (await cache.getMany<unknown>(['rate'], loadMany, options)).get('rate')
  return { row, one, many, options }
}

function inUnitOfWork<Result>(work: () => Promise<Result>): Promise<Result> {
  return runInScope(new TransactionScope({} as TransactionResources), work)
}

function inQuery<Result>(work: () => Promise<Result>, options?: { node: SimulatedNode }): Promise<Result> {
  const handlers = {
    queries: new Map([[Deep, { handler: { execute: work }, declaration: {} }]]),
  } as unknown as HandlerRegistry
  const bus = new QueryBus(handlers, {} as Caches)
  return bus.execute(new Deep({}), options?.node.request()) as Promise<Result>
}

type Reads = ReturnType<typeof readsOf> & { node: SimulatedNode }

/** Every way in which a load may read `rate`. */
const ways: Readonly<Record<string, (reads: Reads) => Promise<unknown>>> = {
  getOrCreate: ({ one }) => one(),
  getMany: ({ many }) => many(),
  'a hit': async ({ one }) => [await one(), await one()],
  'a copy from L2': ({ node, one, options }) =>
    one().then(() =>
      node.cache.getOrCreate('rate', async () => 'never', { ...options, entry: { skipL1Read: true } }),
    ),
  get: async ({ node, one }) => {
    await settledApart(one)
    return node.cache.get('rate')
  },
  peek: async ({ node, one }) => {
    await settledApart(one)
    return node.cache.peek('rate')
  },
  'a unit of work': ({ one }) => inUnitOfWork(one),
  'getMany in a unit of work': ({ many }) => inUnitOfWork(many),
  'a savepoint': ({ one }) => inUnitOfWork(() => inUnitOfWork(one)),
  'a query that is not cached': ({ one }) => inQuery(one),
  'a query in a unit of work': ({ one }) => inUnitOfWork(() => inQuery(one)),
  'a unit of work in a query': ({ one }) => inQuery(() => inUnitOfWork(one)),
  'one tier alone': ({ node, options, one }) =>
    one().then(() =>
      node.cache.getOrCreate('rate', async () => 'never', {
        ...options,
        consistency: node.request(undefined, 'l1'),
      }),
    ),
}

/** Loads `rate` outside the load under way, so that the load learns nothing of it. */
async function settledApart(one: () => Promise<unknown>): Promise<void> {
  apart.push(one)
  while (apart.includes(one)) await settle()
}
const apart: (() => Promise<unknown>)[] = []
async function whileLoadingApart<Result>(reading: Promise<Result>): Promise<Result> {
  let done = false
  const finished = reading.finally(() => {
    done = true
  })
  while (!done) {
    const [one] = apart
    if (one) {
      await one()
      apart.shift()
    }
    await settle()
  }
  return finished
}

describe('a value made from a cached value goes stale with it, however that was read', () => {
  const events = {
    'its key': { keys: ['rate'] },
    'the key of a value that it was made from': { keys: ['deep'] },
    'a tag that was declared': { tags: ['declared'] },
    'a tag that its load has learnt': { tags: ['learnt'] },
    'a tag that follows from its value': { tags: ['following'] },
  }
  for (const [way, read] of Object.entries(ways)) {
    // A factory of getMany has no context, so it cannot add tags.
    const concerning = Object.entries(events).filter(
      ([what]) => !way.includes('getMany') || !what.includes('learnt'),
    )
    test.each(concerning)(`${way}: %s`, async (_, stale) => {
      const shared = new InMemoryTier()
      const { pages, ...reads } = await started({ shared })
      const page = () => whileLoadingApart(pages.getOrCreate('page', async () => ({ of: await read(reads) })))
      await page()
      reads.row.version = 2
      expect(JSON.stringify(await page())).toContain('rate 1')
      await reads.node.apply(stale)
      await page()
      expect(JSON.stringify(await page())).not.toContain('rate 1')
    })
  }
})

describe('a value made from the absence of a cached value goes stale when that value may appear', () => {
  const absent: Readonly<Record<string, (reads: Reads, down: Gate<never>) => Promise<unknown>>> = {
    'a key that getMany has left out': async ({ node }) =>
      (await node.cache.getMany(['rate'], async () => new Map())).size,
    'a get that finds nothing': async ({ node }) => (await node.cache.get('rate')) ?? 'none',
    'a peek that finds nothing': async ({ node }) => node.cache.peek('rate') ?? 'none',
    'a failure that is caught': ({ node }) =>
      node.cache.getOrCreate<unknown>('rate', () => Promise.reject(new Error('away'))).catch(() => 'none'),
    'a domain error that is caught': ({ node }) =>
      node.cache
        .getOrCreate<unknown>('rate', () => Promise.reject(new DomainError('not-found', 'gone', 'Gone')))
        .catch(() => 'none'),
    'a failure in a unit of work': ({ node }) =>
      inUnitOfWork(() =>
        node.cache.getOrCreate<unknown>('rate', () => Promise.reject(new Error('away'))),
      ).catch(() => 'none'),
    'a tier that has nothing': ({ node }) =>
      node.cache
        .getOrCreate<unknown>('rate', async () => 'never', { consistency: node.request(undefined, 'l1') })
        .catch(() => 'none'),
    'a null': ({ node }) => node.cache.getOrCreate<unknown>('rate', async () => null),
    'a read that takes too long': ({ node }, down) => {
      const reading = node.cache.getOrCreate<unknown>('rate', () => down.opened, {
        entry: { hardTimeoutMs: 50 },
      })
      void settle().then(() => node.clock.advance(50))
      return reading.catch(() => 'none')
    },
    'a read that is given up': ({ node }, down) =>
      node.cache
        .getOrCreate<unknown>('rate', () => down.opened, { signal: AbortSignal.abort() })
        .catch(() => 'none'),
    'a read that is not waited for': ({ node }, down) =>
      Promise.race([node.cache.getOrCreate<unknown>('rate', () => down.opened), settle().then(() => 'none')]),
  }
  test.each(Object.entries(absent))('%s', async (_, read) => {
    const { pages, ...reads } = await started()
    let loads = 0
    const page = () =>
      pages.getOrCreate('page', async () => {
        loads++
        return { of: await read(reads, new Gate<never>()) }
      })
    await page()
    await reads.node.apply({ keys: ['other'] })
    await page()
    expect(loads).toBe(1)
    await reads.node.apply({ keys: ['rate'] })
    await page()
    expect(loads).toBe(2)
  })

  test.each(['its own', 'a joined'])(
    'the failure of %s load, which depends on other cached values',
    async (how) => {
      const { pages, node } = await started()
      let loads = 0
      const begun = new Gate()
      const gate = new Gate()
      const failing = () =>
        node.cache.getOrCreate<unknown>('rate', async ({ tag }) => {
          tag('learnt')
          await node.cache.getOrCreate('deep', async () => 'deep')
          begun.open()
          await gate.opened
          throw new DomainError('not-found', 'gone', 'Gone')
        })
      const page = () =>
        pages.getOrCreate('page', async () => {
          loads++
          return failing().catch(() => 'none')
        })
      for (const stale of [{ keys: ['deep'] }, { tags: ['learnt'] }]) {
        const other = how === 'a joined' ? failing().catch(() => {}) : undefined
        if (other) await begun.opened
        const reading = page()
        await settle()
        gate.open()
        await Promise.all([reading, other])
        const before = loads
        await page()
        expect(loads).toBe(before)
        await node.apply(stale)
        await page()
        expect(loads).toBe(before + 1)
      }
    },
  )
})

describe('a value made from a stale value', () => {
  const stale: Readonly<Record<string, (reads: Reads) => Promise<unknown>>> = {
    'read by itself': ({ one }) => one(),
    'read by a query that is not cached': ({ one }) => inQuery(one),
    'read by a query in a query': ({ one }) => inQuery(() => inQuery(one)),
  }
  test.each(Object.entries(stale))('is marked as stale, and is not kept: %s', async (_, read) => {
    const { pages, ...reads } = await started({
      entry: { failSafe: true, failSafeThrottleMs: 0, l1TtlMs: 100, l2TtlMs: 100 },
    })
    const { node, row } = reads
    await reads.one()
    node.clock.advance(100)
    const down = {
      ...reads,
      one: () => node.cache.getOrCreate<unknown>('rate', () => Promise.reject(new Error('away'))),
    }
    const request = node.request()
    expect(await pages.getOrCreate('page', () => read(down), { consistency: request })).toContain('rate 1')
    expect(request.stale?.staleness).toBe('expired')
    row.version = 2
    expect(await pages.getOrCreate('page', () => read(reads))).toContain('rate 2')
  })

  test('is never made from an invalidated one, because it may go to a client that has seen the write', async () => {
    const { node, pages, one } = await started({ entry: { failSafe: true, allowInvalidated: true } })
    await one()
    await node.apply({ keys: ['rate'] })
    const fails = () => node.cache.getOrCreate<unknown>('rate', () => Promise.reject(new Error('away')))
    await expect(pages.getOrCreate('page', () => inQuery(fails, { node }))).rejects.toThrow('away')
    expect(await inQuery(fails, { node })).toContain('rate 1')
  })
})

test('reads that a load left running do not affect its value', async () => {
  const { node, pages } = await started()
  const gate = new Gate()
  let loads = 0
  const late: Promise<unknown>[] = []
  const page = () =>
    pages.getOrCreate('page', async () => {
      late.push(gate.opened.then(() => node.cache.getOrCreate('late', async () => 'late')))
      return `page ${++loads}`
    })
  await page()
  gate.open()
  await Promise.all(late)
  await node.apply({ keys: ['late'] })
  expect(await page()).toBe('page 1')
})

test('reads inside a load count without a lease, too', async () => {
  const { node, pages, one, row } = await started()
  node.clock.advance(maxStalenessMs)
  const page = () => pages.getOrCreate('page', one)
  expect(await page()).toContain('rate 1')
  row.version = 2
  await node.apply({ keys: ['rate'] })
  expect(await page()).toContain('rate 2')
})

describe('a value made from a cached value, whose origin says that it is not modified,', () => {
  async function page() {
    const { node, pages, one, row } = await started()
    const read = () =>
      pages.getOrCreate<unknown>(
        'page',
        async ({ previous, validators, notModified }) => {
          validators({ etag: 'same' })
          return previous?.etag === 'same' ? notModified() : { of: await one() }
        },
        { tags: ['own'] },
      )
    await read()
    row.version = 2
    return { node, pages, read }
  }

  test('is loaded anew if the cached value has changed', async () => {
    const { node, read } = await page()
    await node.apply({ keys: ['rate'] })
    expect(JSON.stringify(await read())).toContain('rate 2')
  })

  test('is renewed otherwise, and still depends on the cached value', async () => {
    const { node, pages, read } = await page()
    await pages.expire('page')
    expect(JSON.stringify(await read())).toContain('rate 1')
    await node.apply({ keys: ['rate'] })
    expect(JSON.stringify(await read())).toContain('rate 2')
  })
})
