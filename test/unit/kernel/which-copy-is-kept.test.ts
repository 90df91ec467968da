import { describe, expect, test } from '@jest/globals'
import { defaultEntryOptions, type EntryOptions } from '../../../src/kernel/cache/entry-options.js'
import { HybridCache } from '../../../src/kernel/cache/hybrid-cache.js'
import type { LoadContext } from '../../../src/kernel/cache/load-context.js'
import type { SharedEntry, SharedKey } from '../../../src/kernel/cache/shared/shared-tier.js'
import { settle } from '../../support/gate.js'
import { InMemoryJournal } from '../../support/in-memory-journal.js'
import { InMemoryTier } from '../../support/in-memory-tier.js'
import { ManualClock } from '../../support/manual-clock.js'
import { type SimulatedNode, startSimulatedNode } from '../../support/simulated-node.js'

/** An L2 that does not store large values. */
class SmallTier extends InMemoryTier {
  override set(key: SharedKey, entry: SharedEntry): void {
    if (String(entry.value).length < 100) super.set(key, entry)
  }
}

const large = 'large '.repeat(20)

function cacheOf(node: SimulatedNode, name: string): HybridCache {
  const limits = { maxEntries: 10, maxEntryBytes: 1_000_000, cacheAbsent: false, maxKeyLength: 100 }
  return new HybridCache(
    { name, declaration: 'd1', entry: defaultEntryOptions, ...limits },
    node.dependencies,
  )
}

async function startTwo(entry: Partial<EntryOptions>) {
  const journal = new InMemoryJournal()
  const clock = new ManualClock()
  const shared = new SmallTier()
  const settings = { journal, clock, shared, entry: { failSafeThrottleMs: 0, ...entry } }
  const one = await startSimulatedNode(settings)
  const two = await startSimulatedNode(settings)
  /** Lets time pass while both nodes renew their leases. */
  const pass = async (ms: number) => {
    clock.advance(ms)
    await one.check.run()
    await two.check.run()
  }
  return { clock, shared, one, two, pass }
}

const fails = () => Promise.reject(new Error('away'))

async function ask(node: SimulatedNode, factory: () => Promise<unknown>, entry: Partial<EntryOptions> = {}) {
  const consistency = node.request()
  const value = await node.cache.getOrCreate('a', factory, { consistency, entry })
  return [value, consistency.stale?.staleness ?? 'fresh']
}

describe('a fresh value in memory', () => {
  test('stays when an eager refresh finds an expired copy in L2', async () => {
    const { one, two, pass } = await startTwo({
      failSafe: true,
      l1TtlMs: 1_000,
      l2TtlMs: 1_000,
      eagerRefreshThreshold: 0.1,
    })
    await ask(one, async () => 'old')
    await pass(1_100)
    await ask(two, async () => 'new', { skipL2Write: true })
    await pass(200)
    expect(await ask(two, fails)).toEqual(['new', 'fresh'])
    await settle()
    expect(await ask(two, fails)).toEqual(['new', 'fresh'])
  })
})

describe('a value that is in memory but not in L2', () => {
  test('is what fail-safe answers, and not the older value in L2', async () => {
    const { one, pass } = await startTwo({ failSafe: true, l1TtlMs: 100, l2TtlMs: 100 })
    await ask(one, async () => 'old')
    await pass(100)
    await ask(one, async () => large)
    await pass(100)
    expect(await ask(one, fails)).toEqual([large, 'expired'])
    expect(await ask(one, fails)).toEqual([large, 'expired'])
  })

  test.each([
    ['because of an option', 'new', { skipL2Write: true }],
    ['because it is too large', large, {}],
  ])('is loaded again when it expires, although L2 has an older value: %s', async (_, value, entry) => {
    const { one, two, pass } = await startTwo({ l1TtlMs: 100, l2TtlMs: 10_000 })
    await ask(one, async () => 'old')
    await pass(1)
    await ask(one, async () => value, { ...entry, skipL1Read: true, skipL2Read: true })
    expect(await ask(one, fails)).toEqual([value, 'fresh'])
    await pass(100)
    expect(await ask(one, async () => 'newest')).toEqual(['newest', 'fresh'])
    expect(await ask(two, fails)).toEqual(['newest', 'fresh'])
  })

  test('does not give way to an older value in L2 that was loaded within the same millisecond', async () => {
    const { one, pass } = await startTwo({ l1TtlMs: 100, l2TtlMs: 10_000 })
    await ask(one, async () => 'old')
    await ask(one, async () => 'new', { skipL2Write: true, skipL1Read: true, skipL2Read: true })
    expect(await ask(one, async () => 'newest', { skipL1Read: true })).toEqual(['newest', 'fresh'])
    await ask(one, async () => 'new', { skipL2Write: true, skipL1Read: true, skipL2Read: true })
    await pass(100)
    expect(await ask(one, async () => 'newer still')).toEqual(['newer still', 'fresh'])
  })

  test('is replaced by a newer value that another node has loaded', async () => {
    const { one, two, pass } = await startTwo({ l1TtlMs: 100, l2TtlMs: 10_000 })
    await ask(one, async () => 'here', { skipL2Write: true })
    await pass(50)
    await ask(two, async () => 'elsewhere')
    await pass(50)
    expect(await ask(one, fails)).toEqual(['elsewhere', 'fresh'])
  })
})

test('a value that expires in memory is copied from L2 again without a load', async () => {
  const { one, pass } = await startTwo({ l1TtlMs: 100, l2TtlMs: 10_000 })
  await ask(one, async () => 'value')
  for (let count = 0; count < 5; count++) {
    await pass(100)
    expect(await ask(one, fails)).toEqual(['value', 'fresh'])
  }
  expect(one.cache.statistics).toMatchObject({ loads: 1, l2Hits: 5 })
})

test('what is loaded after the clock of Postgres was set back is kept', async () => {
  const { clock, shared, one, pass } = await startTwo({ l1TtlMs: 100, l2TtlMs: 100 })
  await ask(one, async () => 'old')
  shared.entries.clear()
  clock.jumpWall(-3_600_000)
  await pass(100)
  await ask(one, async () => 'new')
  expect(await ask(one, fails)).toEqual(['new', 'fresh'])
})

test('a copy in L2 that was removed by its tag does not replace one that fail-safe may answer', async () => {
  const { one, two, pass } = await startTwo({ failSafe: true, l1TtlMs: 100, l2TtlMs: 100 })
  await two.cache.getOrCreate('a', async () => 'kept', { entry: { skipL2Write: true } })
  await pass(1)
  await one.cache.getOrCreate('a', async () => 'removed', { tags: ['t'] })
  await pass(100)
  await one.cache.removeByTag('t')
  await two.check.run()
  expect(await ask(two, fails)).toEqual(['kept', 'expired'])
})

test('a copy in L2 that is stale and too large for memory does not take the place of what fail-safe may answer', async () => {
  const { one, two, pass } = await startTwo({})
  const entry = { failSafe: true, l1TtlMs: 100, l2TtlMs: 100 }
  const [here, there] = [cacheOf(one, 'sized'), cacheOf(two, 'sized')]
  await here.getOrCreate('a', async () => 'small', { entry })
  await pass(200)
  const sized = { ...entry, skipL2Read: true }
  const load = (context: LoadContext<unknown>) => {
    context.adapt({ sizeBytes: 2_000_000 })
    return Promise.resolve('large')
  }
  await there.getOrCreate('a', load, { entry: sized })
  await pass(200)
  expect(await here.getOrCreate('a', fails, { entry })).toBe('small')
})

describe('after a load whose value is not kept, no older value is answered', () => {
  const kept: Partial<EntryOptions> = { failSafe: true, l1TtlMs: 100, l2TtlMs: 100 }

  test.each([
    ['null', async (node: SimulatedNode) => node.cache.getOrCreate<unknown>('a', async () => null)],
    [
      'doNotStore',
      async (node: SimulatedNode) =>
        node.cache.getOrCreate<unknown>('a', async ({ doNotStore }) => {
          doNotStore()
          return 'secret'
        }),
    ],
    [
      'left out by getMany',
      async (node: SimulatedNode) => (await node.cache.getMany(['a'], async () => new Map())).size,
    ],
    [
      'skipL1Write and skipL2Write',
      (node: SimulatedNode) => ask(node, async () => 'new', { skipL1Write: true, skipL2Write: true }),
    ],
    [
      'too many names',
      async (node: SimulatedNode) =>
        node.cache.getOrCreate<unknown>('a', async () => {
          for (let count = 0; count < 600; count++) await cacheOf(node, `part-${count}`).get('a')
          return 'of very many caches'
        }),
    ],
  ])('%s', async (_, load) => {
    const { one, pass } = await startTwo(kept)
    await ask(one, async () => 'old')
    await pass(100)
    expect(await ask(one, fails)).toEqual(['old', 'expired'])
    await load(one)
    for (let count = 0; count < 2; count++) await expect(ask(one, fails)).rejects.toThrow('away')
  })

  test('but a fresh value stays', async () => {
    const { one } = await startTwo({ failSafe: true })
    await ask(one, async () => 'old')
    await ask(one, async () => null, { skipL1Read: true, skipL2Read: true })
    expect(await ask(one, fails)).toEqual(['old', 'fresh'])
  })
})
