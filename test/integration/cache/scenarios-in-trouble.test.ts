import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals'
import { NotInTierError } from '../../../src/kernel/cache/cache-errors.js'
import type { CacheSettings } from '../../../src/kernel/cache/caches.js'
import type { HybridCache } from '../../../src/kernel/cache/hybrid-cache.js'
import { Consistency } from '../../../src/kernel/journal/consistency.js'
import type { Node } from '../../../src/node.js'
import { ThingChanged } from '../../support/cache-cluster.js'
import { ask, newCacheInStep, untilInL2 } from '../../support/cache-reads.js'
import { FailingLoads } from '../../support/counted-loads.js'
import { Gate } from '../../support/gate.js'
import { rareChecks } from '../../support/test-node.js'
import { startTroubledCluster, type TroubledCluster } from '../../support/troubled-cluster.js'
import { until } from '../../support/until.js'

const neverLoads = new FailingLoads().load
type OnThree<Value = string> = readonly [HybridCache<Value>, HybridCache<Value>, HybridCache<Value>]

async function newCache<Value = string>(
  cluster: TroubledCluster,
  settings: CacheSettings = {},
): Promise<OnThree<Value>> {
  return (await newCacheInStep<Value>(cluster, settings)) as unknown as OnThree<Value>
}

describe('three nodes in trouble', () => {
  let cluster: TroubledCluster

  beforeAll(async () => {
    // Checks are made when a test asks for them, so that none repairs in passing what a test has broken.
    cluster = await startTroubledCluster(rareChecks)
  })
  beforeEach(() => cluster.calm())
  afterAll(() => cluster.stop())

  const node = (index: number) => cluster.nodes[index] as Node
  const trouble = (index: number) => cluster.troubles[index]!

  /** A cache that holds `old` under `a` in both tiers of every node. */
  async function filled(settings: CacheSettings = {}): Promise<OnThree> {
    const caches = await newCache(cluster, settings)
    for (const cache of caches) await cache.getOrCreate('a', async () => 'old')
    for (const cache of caches) await untilInL2(cache, 'a')
    return caches
  }

  async function expectInNoTier(caches: OnThree): Promise<void> {
    for (const [index, cache] of caches.entries()) {
      const { check, applied } = node(index).parts
      for (const tier of ['l1', 'l2'] as const) {
        const consistency = new Consistency(check, applied, undefined, tier)
        await expect(cache.getOrCreate('a', neverLoads, { consistency })).rejects.toThrow(NotInTierError)
      }
    }
  }

  test('a value whose write to L2 fails leaves no other node with the one before it', async () => {
    const caches = await filled()
    trouble(0).l2.cause({ failureRate: 1 })
    await caches[0].set('a', 'new', { stamp: caches[0].capture() })
    await cluster.inStep()
    // It is in one node's memory alone; L2 still has the old one.
    for (const cache of caches) expect(await cache.getOrCreate('a', async () => 'new')).toBe('new')
    cluster.calm()
    for (const cache of caches) {
      const entry = { skipL1Read: true }
      expect(await cache.getOrCreate('a', async () => 'new', { entry })).toBe('new')
    }
  })

  test.each(['remove', 'expire', 'removeMany', 'clear'] as const)(
    'after %s while L2 fails on all nodes, nothing stale is read once L2 is back',
    async (how) => {
      const caches = await filled()
      for (const { l2 } of cluster.troubles) l2.cause({ failureRate: 1 })
      if (how === 'clear') await caches[0].clear()
      else if (how === 'removeMany') await caches[0].removeMany(['a'])
      else await caches[0][how]('a')
      await cluster.inStep()
      cluster.calm()
      await expectInNoTier(caches)
      // L2 has had it all the time, and it was refused.
      expect(await caches[1].get('a')).toBeUndefined()
      expect(caches[1].statistics.fenced).toBeGreaterThan(0)
      for (const cache of caches) expect(await cache.getOrCreate('a', async () => 'new')).toBe('new')
    },
  )

  test('a write to L2 that arrives only after a later one takes nobody back', async () => {
    const caches = await filled()
    const { l2, l2Clock, l2Pending } = trouble(0)
    l2.cause({ delayMs: 1_000 })
    await caches[0].set('a', 'first', { stamp: caches[0].capture() })
    l2.calm()
    await cluster.inStep()
    await caches[1].set('a', 'second', { stamp: caches[1].capture() })
    await cluster.inStep()
    await untilInL2(caches[2], 'a')
    l2Clock.advance(1_000)
    await until('the first write has been made', () => l2Pending() === 0)
    for (const cache of caches) expect(await cache.getOrCreate('a', async () => 'second')).toBe('second')
    const entry = { skipL1Read: true, skipL1Write: true }
    for (const cache of caches) expect([undefined, 'second']).toContain(await cache.get('a', { entry }))
  })

  test('clears and removals whose hints are reordered, late and repeated never move a node backwards', async () => {
    const caches = await newCache(cluster)
    const positions = cluster.nodes.map(() => [] as number[])
    const stops = cluster.nodes.map(({ parts }, index) =>
      parts.applied.onMessage(({ position }) => positions[index]!.push(position)),
    )
    const start = node(0).parts.applied.position
    for (const { hints } of cluster.troubles)
      hints.cause({ delayMs: [0, 15], duplicateRate: 0.5, reorderRate: 0.5 })
    for (let round = 0; round < 15; round++) {
      const writer = caches[round % 3]!
      const load = async () => `round ${round}`
      await writer.clear()
      // The writer itself has applied it: nothing from before may be shown there, whatever arrives late.
      expect(await writer.getOrCreate('a', load)).toBe(`round ${round}`)
      expect(await writer.getOrCreate('b', load, { tags: ['t'] })).toBe(`round ${round}`)
      await writer.removeByTag('t')
      expect(await writer.get('b')).toBeUndefined()
    }
    cluster.calm()
    await cluster.inStep()
    for (const cache of caches) expect(await cache.getOrCreate('a', async () => 'round 14')).toBe('round 14')
    for (const cache of caches) expect(await cache.get('b')).toBeUndefined()
    for (const stop of stops) stop()
    const inOrder = Array.from({ length: 30 }, (_, index) => start + index + 1)
    expect(positions).toEqual([inOrder, inOrder, inOrder])
  })

  test.each([
    ['soft', { failSafe: true, l2SoftTimeoutMs: 20 }],
    ['hard', { l2HardTimeoutMs: 20 }],
  ])('a read waits for an L2 that hangs once, until its %s timeout, and loads', async (_which, entry) => {
    const [cache] = await filled({ failSafe: true })
    await cache.expire('a')
    trouble(0).l2.cause({ delayMs: Number.POSITIVE_INFINITY })
    expect(await cache.getOrCreate('a', async () => 'new', { entry })).toBe('new')
  })

  test('an invalidation while L2’s answer is on its way keeps what it brings out of memory', async () => {
    const caches = await newCache(cluster)
    await caches[0].getOrCreate('a', async () => 'old')
    await untilInL2(caches[0], 'a')
    const { l2, l2Clock, l2Pending } = trouble(1)
    l2.cause({ delayMs: 1_000 })
    const reading = caches[1].getOrCreate('a', async () => 'new')
    await until('L2 has answered, and the answer is on its way', () => l2Pending() === 1)
    l2.calm()
    await cluster.change({ keys: ['a'] }, node(2))
    l2Clock.advance(1_000)
    expect(await reading).toBe('new')
    for (const cache of caches) expect(await cache.getOrCreate('a', async () => 'new')).toBe('new')
  })

  test('an invalidation between the comparison of L2’s copy and its way into memory is not undone by it', async () => {
    const caches = await newCache(cluster)
    await caches[0].getOrCreate('a', async () => 'old')
    await untilInL2(caches[0], 'a')
    const gate = new Gate()
    let copying = false
    const { faults } = node(1).parts
    Object.assign(faults, {
      at: (point: string) => {
        if (point !== 'before-l2-copy') return undefined
        copying = true
        return gate.opened
      },
    })
    try {
      const reading = caches[1].getOrCreate('a', neverLoads)
      await until('the copy was found fresh', () => copying)
      await cluster.change({ keys: ['a'] }, node(2))
      gate.open()
      // It had asked before the write.
      expect(await reading).toBe('old')
    } finally {
      Reflect.deleteProperty(faults, 'at')
    }
    await expectInNoTier(caches)
    for (const cache of caches) expect(await cache.getOrCreate('a', async () => 'new')).toBe('new')
  })

  test('with every hint lost, everything is right after one check', async () => {
    const caches = await filled()
    const others = await filled()
    for (const { hints } of cluster.troubles) hints.cause({ failureRate: 1 })
    await caches[0].set('a', 'new', { stamp: caches[0].capture() })
    await others[1].removeByTag('no such tag')
    await others[1].remove('a')
    // Nobody has told it: this is what the check is for.
    expect(await caches[2].getOrCreate('a', neverLoads)).toBe('old')
    await cluster.inStep()
    await untilInL2(caches[2], 'a')
    for (const cache of caches) expect(await cache.getOrCreate('a', neverLoads)).toBe('new')
    await expectInNoTier(others)
  })
})

describe('a node whose checks are in trouble', () => {
  const maxStalenessMs = 400
  let cluster: TroubledCluster
  const node = (index: number) => cluster.nodes[index] as Node

  beforeAll(async () => {
    cluster = await startTroubledCluster({
      MAX_STALENESS_MS: `${maxStalenessMs}`,
      CHECK_INTERVAL_MS: '100',
    })
  })
  afterAll(() => cluster.stop())

  test.each([
    ['fail', { failureRate: 1 }],
    ['take longer than the bound', { delayMs: 3 * maxStalenessMs }],
  ])(
    'and %s, deaf to all hints, answers nothing unmarked that is older than the bound',
    async (_how, settings) => {
      const caches = await newCache<number>(cluster, {
        failSafe: true,
        failSafeThrottleMs: 0,
        allowInvalidated: true,
      })
      const plain = await newCache<number>(cluster)
      const deaf = cluster.troubles[2]!
      const committed = [{ version: 0, at: performance.now() }]
      const newest = (at: number) => committed.findLast((write) => write.at <= at)?.version ?? 0
      const load = async () => newest(performance.now())
      const failing = new FailingLoads()
      for (const cache of [caches[2], plain[2]]) await cache.getOrCreate('a', load)
      deaf.hints.cause({ failureRate: 1 })
      deaf.checks.cause(settings)
      const violations: string[] = []
      let marked = 0
      const begun = performance.now()
      while (performance.now() < begun + 5 * maxStalenessMs) {
        const version = committed.length
        await node(0).parts.outbox.write([new ThingChanged({ keys: ['a'] })])
        committed.push({ version, at: performance.now() })
        let due = newest(performance.now() - maxStalenessMs)
        const safe = await ask(node(2), caches[2], 'a', failing.load).catch(() => undefined)
        if (safe && safe.staleness !== 'none') marked++
        else if (safe && safe.value < due) violations.push(`unmarked ${safe.value}, ${due} was due`)
        due = newest(performance.now() - maxStalenessMs)
        const answer = await plain[2].getOrCreate('a', load)
        if (answer < due) violations.push(`${answer}, ${due} was due`)
      }
      expect(violations).toEqual([])
      expect(marked).toBeGreaterThan(0)
      cluster.calm()
      await until('it is in step again', () => node(2).parts.lease.holds())
      await cluster.inStep()
      const last = newest(performance.now())
      for (const [index, cache] of caches.entries()) {
        const answer = await ask(node(index), cache, 'a', load)
        expect(answer).toEqual({ value: last, staleness: 'none' })
      }
    },
  )
})
