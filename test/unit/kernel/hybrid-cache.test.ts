import { describe, expect, jest, test } from '@jest/globals'
import { NotInTierError } from '../../../src/kernel/cache/cache-errors.js'
import { defaultEntryOptions } from '../../../src/kernel/cache/entry-options.js'
import { HybridCache } from '../../../src/kernel/cache/hybrid-cache.js'
import { LoadScope, runLoad } from '../../../src/kernel/cache/reads/load-scope.js'
import { maximumTags } from '../../../src/kernel/cache/reads/loader.js'
import { type FaultPoint, Faults } from '../../../src/kernel/faults.js'
import {
  runInScope,
  type TransactionResources,
  TransactionScope,
} from '../../../src/kernel/persistence/transaction-scope.js'
import { Gate, settle } from '../../support/gate.js'
import { InMemoryJournal } from '../../support/in-memory-journal.js'
import { InMemoryTier } from '../../support/in-memory-tier.js'
import { ManualClock } from '../../support/manual-clock.js'
import {
  cacheName,
  maxStalenessMs,
  type SimulatedNode,
  startSimulatedNode,
} from '../../support/simulated-node.js'

/** Loads that say which they were, and can be held. */
function countedLoads() {
  let loads = 0
  return {
    factory: async () => `load ${++loads}`,
    get loads() {
      return loads
    },
  }
}

/** Two nodes over one history, one L2 and one clock. */
async function startTwoNodes() {
  const journal = new InMemoryJournal()
  const clock = new ManualClock()
  const shared = new InMemoryTier()
  const one = await startSimulatedNode({ journal, clock, shared })
  const two = await startSimulatedNode({ journal, clock, shared })
  return { journal, clock, shared, one, two }
}

/** A cache beside the node's own, which waits at one point of its loads. */
function heldAt(node: SimulatedNode, point: FaultPoint, gate: Gate): HybridCache {
  const faults = new Faults()
  faults.at = (reached) => (reached === point ? gate.opened : undefined)
  const options = {
    name: cacheName,
    declaration: 'd1',
    maxEntries: 100,
    cacheAbsent: false,
    maxKeyLength: 1_024,
    entry: defaultEntryOptions,
  }
  return new HybridCache(options, { ...node.dependencies, faults })
}

describe('a cached value', () => {
  test('is loaded once and then served from memory', async () => {
    const { cache } = await startSimulatedNode()
    const source = countedLoads()
    const answers = [
      await cache.getOrCreate('a', source.factory),
      await cache.getOrCreate('a', source.factory),
    ]
    expect(answers).toEqual(['load 1', 'load 1'])
    expect(cache.statistics).toMatchObject({ misses: 1, l1Hits: 1 })
  })

  test('is loaded once for a thousand callers at once', async () => {
    const { cache } = await startSimulatedNode()
    const source = countedLoads()
    await Promise.all(Array.from({ length: 1_000 }, () => cache.getOrCreate('a', source.factory)))
    expect(source.loads).toBe(1)
  })

  test.each([0, '', false, [], {}])('may be %j', async (value) => {
    const shared = new InMemoryTier()
    const journal = new InMemoryJournal()
    const one = await startSimulatedNode({ shared, journal })
    const two = await startSimulatedNode({ shared, journal })
    const never = () => Promise.reject(new Error('it was cached'))
    expect(await one.cache.getOrCreate('a', async () => value)).toEqual(value)
    expect(await one.cache.getOrCreate<unknown>('a', never)).toEqual(value)
    expect(await two.cache.getOrCreate<unknown>('a', never)).toEqual(value)
  })

  test('is not served after its key, or one of its tags, is invalidated', async () => {
    const node = await startSimulatedNode()
    const source = countedLoads()
    const read = () => node.cache.getOrCreate('a', source.factory, { tags: ['t1'], tagsOf: () => ['t2'] })
    await read()
    for (const stale of [{ keys: ['a'] }, { tags: ['t1'] }, { tags: ['t2'] }]) {
      const before = source.loads
      await node.apply({ keys: ['b'], tags: ['t3'] })
      await read()
      expect(source.loads).toBe(before)
      await node.apply(stale)
      await read()
      expect(source.loads).toBe(before + 1)
    }
  })

  test('depends on tags that its factory learns while it loads', async () => {
    const node = await startSimulatedNode()
    const source = countedLoads()
    const read = () =>
      node.cache.getOrCreate('a', async ({ tag }) => {
        tag('learnt')
        return source.factory()
      })
    await read()
    await node.apply({ tags: ['learnt'] })
    expect(await read()).toBe('load 2')
  })

  test('cannot be changed by those who share it', async () => {
    const { cache } = await startSimulatedNode()
    const value = await cache.getOrCreate('a', async () => ({ list: [{ name: 'n' }] }))
    expect(() => value.list.push({ name: 'other' })).toThrow(TypeError)
    expect(() => {
      value.list[0]!.name = 'other'
    }).toThrow(TypeError)
  })

  test('cannot be changed inside what its load had frozen already, cycles included', async () => {
    const { cache } = await startSimulatedNode()
    const cyclic: { self?: unknown; inner: { name: string } } = { inner: { name: 'n' } }
    cyclic.self = cyclic
    const value = await cache.getOrCreate('a', async () => Object.freeze(cyclic))
    expect(() => {
      value.inner.name = 'other'
    }).toThrow(TypeError)
    expect(value.self).toBe(value)
  })

  test('that was made of one that its load has peeked at is not served after that is invalidated', async () => {
    const node = await startSimulatedNode()
    await node.cache.getOrCreate('inner', async () => 'inner')
    await node.cache.getOrCreate('outer', async () => `of ${node.cache.peek('inner')}`)
    expect(node.cache.peek('outer')).toBe('of inner')
    await node.apply({ keys: ['inner'] })
    expect(node.cache.peek('outer')).toBeUndefined()
  })

  test('is not seen by a peek inside a unit of work', async () => {
    const { cache } = await startSimulatedNode()
    await cache.getOrCreate('a', async () => 'value')
    const scope = new TransactionScope({} as TransactionResources)
    expect(await runInScope(scope, async () => cache.peek('a'))).toBeUndefined()
    expect(cache.peek('a')).toBe('value')
  })

  test('whose load fails leaves nothing behind', async () => {
    const { cache } = await startSimulatedNode()
    await expect(cache.getOrCreate('a', () => Promise.reject(new Error('no row')))).rejects.toThrow('no row')
    expect(await cache.getOrCreate('a', async () => 'found')).toBe('found')
  })

  test('with more tags than a read can compare is refused', async () => {
    const { cache } = await startSimulatedNode()
    const tags = Array.from({ length: maximumTags + 1 }, (_, index) => `t${index}`)
    await expect(cache.getOrCreate('a', async () => 1, { tags })).rejects.toThrow(RangeError)
  })

  test('of another epoch is neither served nor kept', async () => {
    const node = await startSimulatedNode({ shared: new InMemoryTier() })
    const source = countedLoads()
    await node.cache.getOrCreate('a', source.factory)
    node.journal.epoch = '00000000000000f0'
    await node.check.run()
    await expect(
      node.cache.getOrCreate('a', source.factory, { consistency: node.request(undefined, 'l1') }),
    ).rejects.toThrow(NotInTierError)
    expect(await node.cache.getOrCreate('a', source.factory)).toBe('load 2')
  })
})

describe('an invalidation in the middle of a load', () => {
  test.each<FaultPoint>(['before-load', 'after-load-read', 'before-store'])(
    'held at %s keeps the old value out of both tiers',
    async (point) => {
      const { one, two, shared } = await startTwoNodes()
      const gate = new Gate()
      const cache = heldAt(one, point, gate)
      const reading = cache.getOrCreate('a', async () => 'old')
      await settle()
      await one.apply({ keys: ['a'] })
      await two.check.run()
      gate.open()
      await reading
      expect(shared.entries.size).toBe(0)
      expect(await cache.getOrCreate('a', async () => 'new')).toBe('new')
      expect(await two.cache.getOrCreate('a', async () => 'new')).toBe('new')
    },
  )

  test('that this node hears of only after the store makes the value stale in both tiers', async () => {
    const { journal, one, two } = await startTwoNodes()
    const gate = new Gate()
    const cache = heldAt(one, 'after-load-read', gate)
    const reading = cache.getOrCreate('a', async () => 'old')
    await settle()
    journal.commit('test.happened', { keys: ['a'] })
    await journal.number(100)
    gate.open()
    await reading
    await two.check.run()
    expect(await two.cache.getOrCreate('a', async () => 'new')).toBe('new')
    await one.check.run()
    expect(await cache.getOrCreate('a', async () => 'new')).toBe('new')
  })

  test('of a tag that is known only at the end keeps the value out, too', async () => {
    const node = await startSimulatedNode({ shared: new InMemoryTier() })
    const gate = new Gate()
    const reading = node.cache.getOrCreate('a', () => gate.opened.then(() => 'old'), {
      tagsOf: () => ['late'],
    })
    await settle()
    await node.apply({ tags: ['late'] })
    gate.open()
    await reading
    expect(await node.cache.getOrCreate('a', async () => 'new', { tagsOf: () => ['late'] })).toBe('new')
  })

  test('that flushes everything keeps the value out, too', async () => {
    const node = await startSimulatedNode()
    const gate = new Gate()
    const reading = node.cache.getOrCreate('a', () => gate.opened.then(() => 'old'))
    await settle()
    node.journal.commit('test.happened', { keys: 'not a list' })
    await node.check.run()
    gate.open()
    await reading
    expect(await node.cache.getOrCreate('a', async () => 'new')).toBe('new')
  })

  test('that begins a new epoch keeps the value out, too', async () => {
    const node = await startSimulatedNode()
    const gate = new Gate()
    const reading = node.cache.getOrCreate('a', () => gate.opened.then(() => 'old'))
    await settle()
    node.journal.epoch = '00000000000000f0'
    await node.check.run()
    gate.open()
    await reading
    expect(await node.cache.getOrCreate('a', async () => 'new')).toBe('new')
  })
})

describe('a caller that finds a load under way', () => {
  async function startLoad(tagsOf: () => string[] = () => []) {
    const node = await startSimulatedNode()
    const gate = new Gate()
    const first = node.cache.getOrCreate('a', () => gate.opened.then(() => 'old'), { tagsOf })
    await settle()
    const join = (options = {}) => node.cache.getOrCreate('a', async () => 'new', { tagsOf, ...options })
    return { node, gate, first, join }
  }

  test('joins it while nothing has happened since', async () => {
    const { gate, join } = await startLoad()
    const second = join()
    gate.open()
    expect(await second).toBe('old')
  })

  test('loads anew after an invalidation of the key', async () => {
    const { node, gate, first, join } = await startLoad()
    await node.apply({ keys: ['a'] })
    expect(await join()).toBe('new')
    gate.open()
    expect(await first).toBe('old')
    expect(await join()).toBe('new')
  })

  test('loads anew after an invalidation of a tag that only the end of the load reveals', async () => {
    const { node, gate, join } = await startLoad(() => ['late'])
    await node.apply({ tags: ['late'] })
    const second = join()
    gate.open()
    expect(await second).toBe('new')
  })

  test('loads anew even if the same tag is invalidated once more after it came', async () => {
    const { node, gate, join } = await startLoad(() => ['late'])
    await node.apply({ tags: ['late'] })
    const second = join()
    await settle()
    await node.apply({ tags: ['late'] })
    gate.open()
    expect(await second).toBe('new')
  })

  test('loads anew even if the key is invalidated after a late tag was', async () => {
    const { node, gate, join } = await startLoad(() => ['late'])
    await node.apply({ tags: ['late'] })
    const second = join()
    await settle()
    await node.apply({ keys: ['a'] })
    gate.open()
    expect(await second).toBe('new')
  })

  test('loads anew if a late tag was invalidated and then the epoch changed', async () => {
    const { node, gate, join } = await startLoad(() => ['late'])
    await node.apply({ tags: ['late'] })
    const second = join()
    await settle()
    node.journal.epoch = '00000000000000f0'
    await node.check.run()
    gate.open()
    expect(await second).toBe('new')
  })

  test('loads anew if the load found nothing, and something else was applied before it came', async () => {
    const node = await startSimulatedNode()
    const gate = new Gate()
    const first = node.cache.getOrCreate('a', () => gate.opened.then(() => null))
    await settle()
    // That may have been its creation, which invalidates nothing where no absence is kept.
    await node.apply({ keys: ['unrelated'] })
    const second = node.cache.getOrCreate('a', async () => 'new')
    gate.open()
    expect(await first).toBe(null)
    expect(await second).toBe('new')
  })

  test('loads anew if its token is newer than the load', async () => {
    const { node, gate, join } = await startLoad()
    await node.apply({ keys: ['unrelated'] })
    const token = { epoch: node.applied.epoch, position: node.applied.position }
    expect(await join({ consistency: node.request(token) })).toBe('new')
    gate.open()
  })

  test('loads anew if its token was pending, for the load may have begun before that write', async () => {
    const { node, gate, join } = await startLoad()
    node.journal.commit('test.happened', { keys: ['unrelated'] })
    const token = { epoch: node.applied.epoch, position: 'pending' as const }
    expect(await join({ consistency: node.request(token) })).toBe('new')
    gate.open()
  })

  test('loads for itself once the lease is over', async () => {
    const { node, gate, join } = await startLoad()
    node.clock.advance(maxStalenessMs)
    expect(await join()).toBe('new')
    gate.open()
  })

  test('shares its failure, and the next caller loads', async () => {
    const node = await startSimulatedNode()
    const gate = new Gate<string>()
    const both = [1, 2].map(() =>
      node.cache.getOrCreate('a', () => gate.opened).catch((error: Error) => error.message),
    )
    gate.fail(new Error('broken'))
    expect(await Promise.all(both)).toEqual(['broken', 'broken'])
    expect(await node.cache.getOrCreate('a', async () => 'new')).toBe('new')
  })
})

describe('the shared tier', () => {
  test('gives a value that another node has loaded', async () => {
    const { one, two } = await startTwoNodes()
    await one.cache.getOrCreate('a', async () => ({ name: 'n' }), { tags: ['t'] })
    const copy = await two.cache.getOrCreate('a', async () => ({ name: 'other' }))
    expect(copy).toEqual({ name: 'n' })
    expect(Object.isFrozen(copy)).toBe(true)
    expect(two.cache.statistics.l2Hits).toBe(1)
  })

  test('gives copies that keep their stamp and tags: as old as what they were copied from', async () => {
    const { one, two } = await startTwoNodes()
    await one.cache.getOrCreate('a', async () => 'old', { tags: ['t'] })
    await two.apply({ keys: ['unrelated'] })
    await two.cache.getOrCreate('a', async () => 'new')
    // Had the copy been stamped at the position where it was made, this one would have come before it.
    two.applied.invalidations.invalidate('t:t', 1)
    expect(await two.cache.getOrCreate('a', async () => 'new')).toBe('new')
  })

  test('restored from an old snapshot gives nothing old', async () => {
    const { one, two, shared } = await startTwoNodes()
    await one.cache.getOrCreate('a', async () => 'old')
    const snapshot = new Map(shared.entries)
    await one.apply({ keys: ['a'] })
    await two.check.run()
    shared.entries = snapshot
    expect(await two.cache.getOrCreate('a', async () => 'new')).toBe('new')
    expect(await one.cache.getOrCreate('a', async () => 'new')).toBe('new')
    expect(two.cache.statistics.fenced).toBe(1)
  })

  test('is not believed by a node that starts later and has not seen the invalidation', async () => {
    const { one, journal, clock, shared } = await startTwoNodes()
    await one.cache.getOrCreate('a', async () => 'old')
    await one.apply({ keys: ['a'] })
    await one.apply({ keys: ['unrelated'] })
    for (const replayAtStart of [0, 1, 2]) {
      const late = await startSimulatedNode({ journal, clock, shared, replayAtStart })
      expect(await late.cache.getOrCreate('a', async () => `new ${replayAtStart}`)).toMatch(/^new/)
    }
  })

  test('a copy that is invalidated while it is fetched is not kept', async () => {
    const { one, two, shared } = await startTwoNodes()
    await one.cache.getOrCreate('a', async () => 'old')
    const gate = new Gate()
    shared.afterGet = () => gate.opened
    const reading = two.cache.getOrCreate('a', async () => 'new')
    await settle()
    await two.apply({ keys: ['a'] })
    gate.open()
    expect(await reading).toBe('new')
  })

  test('a copy that is invalidated between fetch and store is not served from memory', async () => {
    const { one, two } = await startTwoNodes()
    await one.cache.getOrCreate('a', async () => 'old')
    const gate = new Gate()
    const cache = heldAt(two, 'before-l2-copy', gate)
    const reading = cache.getOrCreate('a', async () => 'new')
    await settle()
    await two.apply({ keys: ['a'] })
    gate.open()
    await reading
    expect(await cache.getOrCreate('a', async () => 'new')).toBe('new')
  })

  test('a lagging node’s store is a miss for whoever is ahead', async () => {
    const { one, two, journal } = await startTwoNodes()
    journal.commit('test.happened', { keys: ['a'] })
    await two.check.run()
    await one.cache.getOrCreate('a', async () => 'old')
    expect(await two.cache.getOrCreate('a', async () => 'new')).toBe('new')
  })

  test('keeps entries of two declarations of a query apart', async () => {
    const { one, journal, clock, shared } = await startTwoNodes()
    await one.cache.getOrCreate('a', async () => 'old shape')
    const next = await startSimulatedNode({ journal, clock, shared, cache: { declaration: 'd2' } })
    expect(await next.cache.getOrCreate('a', async () => 'new shape')).toBe('new shape')
  })
})

describe('absence', () => {
  test.each([null, undefined])(
    '%p is not cached where no event tells that the thing exists now',
    async (value) => {
      const { cache } = await startSimulatedNode({ shared: new InMemoryTier() })
      await cache.getOrCreate<unknown>('a', async () => value)
      expect(await cache.getOrCreate<unknown>('a', async () => 'there')).toBe('there')
    },
  )

  test('is cached where an event does, and ends with that event', async () => {
    const node = await startSimulatedNode({ cache: { cacheAbsent: true } })
    await node.cache.getOrCreate<string | null>('a', async () => null)
    expect(await node.cache.getOrCreate<string | null>('a', async () => 'there')).toBeNull()
    await node.apply({ keys: ['a'] })
    expect(await node.cache.getOrCreate<string | null>('a', async () => 'there')).toBe('there')
  })

  test('that is set by hand is not cached either without such an event', async () => {
    const { cache } = await startSimulatedNode()
    await cache.set('a', null, { stamp: cache.capture() })
    expect(await cache.getOrCreate<unknown>('a', async () => 'there')).toBe('there')
  })
})

test('after a hard timeout nobody joins the load that hangs, though its timer went off a little early', async () => {
  const { cache, clock } = await startSimulatedNode()
  const takenOffAt = clock.now()
  const hanging = cache.getOrCreate('a', () => new Promise(() => {}), { entry: { hardTimeoutMs: 50 } })
  await settle()
  clock.advance(50)
  await expect(hanging).rejects.toThrow('50 ms')
  jest.spyOn(clock, 'now').mockReturnValue(takenOffAt + 49)
  expect(await cache.getOrCreate('a', async () => 'value')).toBe('value')
})

describe('without a lease', () => {
  test('a read waits for the check that renews it, and is served as usual', async () => {
    const node = await startSimulatedNode({ renews: true })
    const source = countedLoads()
    await node.cache.getOrCreate('a', source.factory)
    node.clock.advance(maxStalenessMs)
    expect(await node.cache.getOrCreate('a', source.factory)).toBe('load 1')
    expect(node.cache.statistics.bypasses).toBe(0)
  })

  test('that no check renews, every read goes to the database and says so', async () => {
    const node = await startSimulatedNode({ shared: new InMemoryTier() })
    const source = countedLoads()
    await node.cache.getOrCreate('a', source.factory)
    node.clock.advance(maxStalenessMs)
    const request = node.request()
    expect(await node.cache.getOrCreate('a', source.factory, { consistency: request })).toBe('load 2')
    expect(await node.cache.getOrCreate('a', source.factory)).toBe('load 3')
    expect(request.source).toBe('bypass')
    expect(request.token?.position).toBe('pending')
  })

  test('who gives up while it is renewed fails nobody who comes after that', async () => {
    const node = await startSimulatedNode({ renews: true })
    node.clock.advance(maxStalenessMs)
    const gate = new Gate()
    const factory = async ({ signal }: { readonly signal: AbortSignal }) => {
      await gate.opened
      signal.throwIfAborted()
      return 'value'
    }
    const entry = { backgroundCompletion: false }
    const impatient = new AbortController()
    const first = node.cache.getOrCreate('a', factory, { entry, signal: impatient.signal })
    impatient.abort(new Error('given up'))
    await expect(first).rejects.toThrow('given up')
    await settle()
    const second = node.cache.getOrCreate('a', factory, { entry })
    gate.open()
    expect(await second).toBe('value')
  })

  test('a write that this node slept through is not hidden by its memory when it wakes', async () => {
    const node = await startSimulatedNode({ renews: true })
    const source = countedLoads()
    await node.cache.getOrCreate('a', source.factory)
    node.journal.commit('test.happened', { keys: ['a'] })
    node.clock.jumpWall(60_000)
    expect(await node.cache.getOrCreate('a', source.factory)).toBe('load 2')
  })
})

describe('the token of an answer', () => {
  test('is pending for what was loaded after the last check, be it in the same millisecond', async () => {
    const node = await startSimulatedNode()
    node.clock.advance(0.2)
    await node.check.run()
    node.clock.advance(0.7)
    const request = node.request()
    // It may show a write that was committed since, and has no position yet.
    await node.cache.getOrCreate('a', async () => 'value', { consistency: request })
    const fromMemory = node.request()
    await node.cache.getOrCreate('a', async () => 'value', { consistency: fromMemory })
    expect([request.token?.position, fromMemory.token?.position]).toEqual(['pending', 'pending'])
  })

  test('says pending for a hit, too, until a check has covered what the value may have seen', async () => {
    const node = await startSimulatedNode()
    await node.cache.getOrCreate('a', async () => 'value')
    const early = node.request()
    await node.cache.getOrCreate('a', async () => 'value', { consistency: early })
    expect(early.source).toBe('l1')
    expect(early.token?.position).toBe('pending')
    await node.apply({ keys: ['unrelated'] })
    const late = node.request()
    await node.cache.getOrCreate('a', async () => 'value', { consistency: late })
    expect(late.token).toEqual({ epoch: node.applied.epoch, position: 1 })
  })

  test('is never weaker than the request’s', async () => {
    const node = await startSimulatedNode()
    await node.cache.getOrCreate('a', async () => 'value')
    await node.apply({ keys: ['unrelated'] })
    await node.apply({ keys: ['unrelated'] })
    node.journal.commit('test.happened', { keys: ['unrelated'] })
    await node.journal.number(1)
    const request = node.request({ epoch: node.applied.epoch, position: 3 })
    await node.cache.getOrCreate('a', async () => 'value', { consistency: request })
    const { position } = request.token!
    expect(position === 'pending' || position >= 3).toBe(true)
  })

  test('stands for what the request itself has written, and its own later reads show that', async () => {
    const node = await startSimulatedNode()
    await node.cache.getOrCreate('a', async () => 'old')
    const request = node.request()
    await node.cache.getOrCreate('a', async () => 'old', { consistency: request })
    // Committed, and not numbered yet when the command returns.
    node.journal.commit('test.happened', { keys: ['a'] })
    request.wrote()
    expect(await node.cache.getOrCreate('a', async () => 'new', { consistency: request })).toBe('new')
    expect(request.token?.position).toBe('pending')
    node.journal.commit('test.happened', { keys: ['a'] })
    await node.journal.number(1)
    request.wrote({ epoch: node.applied.epoch, position: 2 })
    expect(await node.cache.getOrCreate('a', async () => 'newer', { consistency: request })).toBe('newer')
  })
})

describe('a cached read inside another load', () => {
  test('makes the outer value depend on all that the inner one depends on', async () => {
    const node = await startSimulatedNode()
    const outer = new HybridCache(
      {
        name: 'Outer',
        declaration: 'd1',
        maxEntries: 10,
        cacheAbsent: false,
        maxKeyLength: 1_024,
        entry: defaultEntryOptions,
      },
      node.dependencies,
    )
    let value = 'old'
    const read = () =>
      outer.getOrCreate('o', async () => {
        const inner = await node.cache.getOrCreate('i', async () => value, { tags: ['t'] })
        return `outer of ${inner}`
      })
    for (const stale of [{ keys: ['i'] }, { tags: ['t'] }]) {
      await read()
      value = `newer than ${value}`
      expect(await read()).not.toBe(`outer of ${value}`)
      await node.apply(stale)
      expect(await read()).toBe(`outer of ${value}`)
    }
  })

  test('does so as well if the inner one was a hit', async () => {
    const node = await startSimulatedNode()
    await node.cache.getOrCreate('i', async () => 'old')
    const read = (inner: string) =>
      node.cache.getOrCreate('o', () => node.cache.getOrCreate('i', async () => inner))
    expect(await read('new')).toBe('old')
    await node.apply({ keys: ['i'] })
    expect(await read('new')).toBe('new')
  })

  describe('is not answered by what fail-safe knows to be invalidated', () => {
    async function invalidated() {
      const node = await startSimulatedNode({ entry: { failSafe: true, allowInvalidated: true } })
      const fails = () => Promise.reject(new Error('away'))
      await node.cache.getOrCreate('inner', async () => 'old')
      await node.apply({ keys: ['inner'] })
      return { node, inner: () => node.cache.getOrCreate('inner', fails) }
    }

    test('inside a load, as nobody knows yet who is given the outer value', async () => {
      const { node, inner } = await invalidated()
      await expect(node.cache.getOrCreate('outer', inner)).rejects.toThrow('away')
      expect(await inner()).toBe('old')
    })

    test('inside a query that is not cached, if its client has seen the write', async () => {
      const { node, inner } = await invalidated()
      expect(await runLoad(new LoadScope(0), inner)).toBe('old')
      await expect(runLoad(new LoadScope(node.applied.position), inner)).rejects.toThrow('away')
    })
  })
})

describe('writing to the cache by hand', () => {
  test('a value with the stamp taken before it was read is served', async () => {
    const { cache } = await startSimulatedNode()
    const stamp = cache.capture()
    await cache.set('a', 'set', { stamp, tags: ['t'] })
    expect(await cache.getOrCreate('a', async () => 'loaded')).toBe('set')
  })

  test('a value that was invalidated after it was read is not', async () => {
    const node = await startSimulatedNode({ shared: new InMemoryTier() })
    for (const stale of [{ keys: ['a'] }, { tags: ['t'] }]) {
      const stamp = node.cache.capture()
      await node.apply(stale)
      await node.cache.set('a', 'old', { stamp, tags: ['t'] })
      expect(await node.cache.getOrCreate('a', async () => 'new')).toBe('new')
    }
  })

  test('a value without a stamp is a removal, for nobody can tell what it has missed', async () => {
    const node = await startSimulatedNode()
    await node.cache.set('a', 'from somewhere')
    expect(node.written.map(({ payload }) => payload)).toEqual([{ cache: cacheName, keys: ['a'] }])
    expect(await node.cache.getOrCreate('a', async () => 'loaded')).toBe('loaded')
  })

  test('every removal goes through the outbox', async () => {
    const { cache, written } = await startSimulatedNode()
    await cache.remove('a', 'b')
    await cache.removeByTag('t')
    await cache.expire('c')
    await cache.clear()
    expect(written.map(({ payload }) => payload)).toEqual([
      { cache: cacheName, keys: ['a', 'b'] },
      { cache: cacheName, tags: ['t'] },
      { cache: cacheName, keys: ['c'], mode: 'expire' },
      { cache: cacheName, all: true },
    ])
  })
})

describe('reading one tier alone', () => {
  test('never falls through to another', async () => {
    const { one, two } = await startTwoNodes()
    const only = (node: SimulatedNode, tier: 'l1' | 'l2' | 'database') =>
      node.cache.getOrCreate('a', async () => 'from the database', {
        consistency: node.request(undefined, tier),
      })
    await expect(only(one, 'l1')).rejects.toThrow(NotInTierError)
    await expect(only(one, 'l2')).rejects.toThrow(NotInTierError)
    expect(await only(one, 'database')).toBe('from the database')
    await expect(only(one, 'l1')).rejects.toThrow(NotInTierError)
    await one.cache.getOrCreate('a', async () => 'cached')
    expect(await only(one, 'l1')).toBe('cached')
    expect(await only(two, 'l2')).toBe('cached')
    await expect(only(two, 'l1')).rejects.toThrow(NotInTierError)
    await one.apply({ keys: ['a'] })
    await expect(only(one, 'l1')).rejects.toThrow(NotInTierError)
    await expect(only(one, 'l2')).rejects.toThrow(NotInTierError)
  })
})
