import { describe, expect, test } from '@jest/globals'
import type { CacheSettings } from '../../../src/kernel/cache/caches.js'
import { DomainError } from '../../../src/kernel/domain/domain-error.js'
import { Consistency } from '../../../src/kernel/journal/consistency.js'
import { on } from '../../../src/kernel/journal/invalidation-rules.js'
import type { Node } from '../../../src/node.js'
import { startProxy } from '../../multi-node/tcp-proxy.js'
import { overEveryTopology, ThingChanged } from '../../support/cache-cluster.js'
import {
  ask,
  briefAndSafe,
  newCacheInStep,
  type OnAllNodes,
  setBack,
  untilExpired,
  untilInL2,
} from '../../support/cache-reads.js'
import { FailingLoads, originIsDown } from '../../support/counted-loads.js'
import { query } from '../../support/fresh-database.js'
import { startTestNode } from '../../support/test-node.js'
import { until } from '../../support/until.js'

/** Not past its time within a test: what ends a value's life is the test's doing. */
const safe = { failSafe: true, failSafeThrottleMs: 0 }
const allowed = { entry: { allowInvalidated: true } }
const fails = () => Promise.reject(new Error(originIsDown))

overEveryTopology('fail-safe', (cluster, { tiers, nodeCount }) => {
  const node = (index: number) => cluster().nodes.at(index) as Node

  /** A cache that holds `old` under `a` on every node. */
  async function filled(settings: CacheSettings, value: unknown = 'old'): Promise<OnAllNodes> {
    const caches = await newCacheInStep(cluster(), settings)
    for (const cache of caches) await cache.getOrCreate('a', async () => value)
    if (tiers !== 'L1 only' && settings.l2TtlMs === undefined)
      for (const cache of caches) await untilInL2(cache, 'a')
    return caches
  }

  /** The same, when the value's time is over. */
  async function expired(settings: CacheSettings = {}, value: unknown = 'old'): Promise<OnAllNodes> {
    const caches = await filled({ ...briefAndSafe, ...settings }, value)
    for (const cache of caches) await untilExpired(cache, 'a')
    return caches
  }

  /** On every node, a read whose load fails is answered so. */
  async function expectAnswer(
    caches: OnAllNodes,
    answer: { value: unknown; staleness: string },
    options = {},
  ): Promise<void> {
    for (const [index, cache] of caches.entries())
      expect(await ask(node(index), cache, 'a', fails, options)).toEqual(answer)
  }

  async function expectNoAnswer(caches: OnAllNodes, options = {}): Promise<void> {
    for (const cache of caches)
      await expect(cache.getOrCreate('a', fails, options)).rejects.toThrow(originIsDown)
  }

  describe('a value past its time', () => {
    test('is answered, marked as expired, when its load fails; and unmarked again once one succeeds', async () => {
      const caches = await expired()
      await expectAnswer(caches, { value: 'old', staleness: 'expired' })
      await expectAnswer(caches, { value: 'old', staleness: 'expired' })
      for (const [index, cache] of caches.entries()) {
        const options = { entry: { l1TtlMs: 60_000, l2TtlMs: 60_000 } }
        const fresh = { value: 'new', staleness: 'none' }
        expect(await ask(node(index), cache, 'a', async () => 'new', options)).toEqual(fresh)
        expect(await ask(node(index), cache, 'a', fails, options)).toEqual(fresh)
      }
    })

    test('tells for how long it has been', async () => {
      const [cache] = await expired()
      const consistency = new Consistency(node(0).parts.check, node(0).parts.applied)
      await cache.getOrCreate('a', fails, { consistency })
      expect(consistency.stale?.overdueMs).toBeGreaterThan(0)
    })

    test('is not answered without fail-safe', async () => {
      await expectNoAnswer(await expired({ failSafe: false }))
    })

    test('is not answered in place of an answer of the domain’s', async () => {
      const caches = await expired()
      const gone = new DomainError('not-found', 'no-such-thing', 'There is no such thing')
      for (const cache of caches) {
        await expect(cache.getOrCreate('a', () => Promise.reject(gone))).rejects.toBe(gone)
      }
      await expectAnswer(caches, { value: 'old', staleness: 'expired' })
    })

    test('is not answered to who has given up', async () => {
      const [cache] = await expired()
      const impatience = new AbortController()
      const reading = cache.getOrCreate(
        'a',
        async () => {
          impatience.abort(new Error('Gave up'))
          return fails()
        },
        { signal: impatience.signal },
      )
      await expect(reading).rejects.toThrow('Gave up')
    })

    test('is answered until failSafeMaxDurationMs is over, and not after', async () => {
      const caches = await expired({ failSafeMaxDurationMs: 400 })
      for (const cache of caches) {
        await until('it is used no longer', async () => {
          const outcome = await cache.getOrCreate('a', fails).catch((error: Error) => error.message)
          expect(['old', originIsDown]).toContain(outcome)
          return outcome === originIsDown
        })
      }
      await expectNoAnswer(caches)
    })

    test('is answered without another attempt until failSafeThrottleMs is over', async () => {
      const [cache] = await expired({ failSafeThrottleMs: 60_000 })
      const failing = new FailingLoads()
      const stale = { value: 'old', staleness: 'expired' }
      for (let i = 0; i < 20; i++) expect(await ask(node(0), cache, 'a', failing.load)).toEqual(stale)
      expect(failing.count).toBe(1)
    })

    test('is the reason for one attempt, not for many, when the throttle is over', async () => {
      const [cache] = await expired({ failSafeThrottleMs: 100 })
      const failing = new FailingLoads()
      for (let attempts = 1; attempts <= 3; attempts++) {
        await until('there is an attempt', async () => {
          const reads = Array.from({ length: 100 }, () => cache.getOrCreate('a', failing.load))
          expect(new Set(await Promise.all(reads))).toEqual(new Set(['old']))
          return failing.count >= attempts
        })
        expect(failing.count).toBe(attempts)
      }
    })

    test.each([0, '', false])('may be %j', async (value) => {
      await expectAnswer(await expired({}, value), { value, staleness: 'expired' })
    })

    test('may be null where an event tells that the thing exists, and is not kept where none does', async () => {
      const createdBy = [on(ThingChanged, ({ keys = [] }) => ({ keys }))]
      await expectAnswer(await expired({ createdBy }, null), { value: null, staleness: 'expired' })
      await expectNoAnswer(await expired({}, null))
    })

    if (tiers !== 'L1 only' && nodeCount > 1) {
      test('is answered by a node that has never had it, from what L2 keeps of it', async () => {
        const [first, ...others] = await newCacheInStep(cluster(), { ...briefAndSafe, l2TtlMs: 500 })
        await first.getOrCreate('a', async () => 'old')
        await untilInL2(first, 'a')
        await untilExpired(first, 'a')
        for (const [index, cache] of others.entries()) {
          const answer = await ask(node(index + 1), cache, 'a', fails)
          expect(answer).toEqual({ value: 'old', staleness: 'expired' })
        }
      })
    }
  })

  describe('a value older than a committed write', () => {
    test('is answered only where that is allowed, and marked as invalidated until a load succeeds', async () => {
      const caches = await filled(safe)
      await cluster().change({ keys: ['a'] })
      await expectNoAnswer(caches)
      const answer = { value: 'old', staleness: 'invalidated' }
      await expectAnswer(caches, answer, allowed)
      await cluster().change({ keys: ['another'] })
      await expectAnswer(caches, answer, allowed)
      for (const [index, cache] of caches.entries()) {
        const fresh = { value: 'new', staleness: 'none' }
        expect(await ask(node(index), cache, 'a', async () => 'new', allowed)).toEqual(fresh)
        expect(await ask(node(index), cache, 'a', fails, allowed)).toEqual(fresh)
      }
    })

    test('is not answered to a client whose token shows that it has seen the write', async () => {
      const caches = await filled({ ...safe, allowInvalidated: true })
      await cluster().change({ keys: ['a'] })
      for (const [index, cache] of caches.entries()) {
        const { check, applied } = node(index).parts
        const consistency = new Consistency(check, applied, applied.stamp())
        await expect(cache.getOrCreate('a', fails, { consistency })).rejects.toThrow(originIsDown)
      }
      await expectAnswer(caches, { value: 'old', staleness: 'invalidated' })
    })

    test('is not answered once another was set by hand, though the last load has just failed', async () => {
      const caches = await expired({ failSafeThrottleMs: 60_000 })
      await expectAnswer(caches, { value: 'old', staleness: 'expired' })
      const stamp = caches[0].capture()
      await caches[0].set('a', 'new', { stamp, entry: { l1TtlMs: 60_000, l2TtlMs: 60_000 } })
      await cluster().inStep()
      for (const [index, cache] of caches.entries()) {
        const { check, applied } = node(index).parts
        const consistency = new Consistency(check, applied, applied.stamp())
        const reading = ask(node(index), cache, 'a', fails, { consistency })
        if (tiers === 'L1 only' && index > 0) await expect(reading).rejects.toThrow(originIsDown)
        else expect(await reading).toEqual({ value: 'new', staleness: 'none' })
      }
    })

    test('cannot be told from any other value after a flush', async () => {
      const caches = await filled(safe)
      // What a newer version of the service may write, and this one cannot read.
      await insertMessage('thing.changed', { keys: 'a' })
      await expectNoAnswer(caches)
      await expectAnswer(caches, { value: 'old', staleness: 'invalidated' }, allowed)
    })

    test.each([
      ['an unheard-of message of the kernel', 'cache.unheard-of', {}],
      ['a removal that this version cannot read', 'cache.invalidated', { keys: 'a' }],
    ])(
      'is not answered, even where allowed, after %s: it may have been removed',
      async (_, type, payload) => {
        const caches = await filled({ ...safe, allowInvalidated: true })
        await insertMessage(type, payload)
        await expectNoAnswer(caches)
      },
    )

    async function insertMessage(type: string, payload: object): Promise<void> {
      const statement = 'insert into aftercommit_kernel.outbox_message (type, payload) values ($1, $2)'
      await query(cluster().database, statement, [type, payload])
      await cluster().inStep()
    }
  })

  test('expire keeps a value for fail-safe, remove does not, not even where the invalidated is allowed', async () => {
    const caches = await filled({ ...safe, allowInvalidated: true })
    await caches.at(-1)!.expire('a')
    await cluster().inStep()
    await expectAnswer(caches, { value: 'old', staleness: 'expired' })
    await caches.at(-1)!.remove('a')
    await cluster().inStep()
    await expectNoAnswer(caches)
  })

  test('what is made of a stale value is as stale, and is not kept', async () => {
    const parts = await expired()
    const pages = await newCacheInStep<string>(cluster())
    let loads = 0
    const page = (index: number, part: () => Promise<unknown>) =>
      ask(node(index), pages[index]!, 'page', async () => {
        loads++
        return `page of ${await parts[index]!.getOrCreate('a', part)}`
      })
    for (const index of pages.keys()) {
      const before = loads
      const stale = { value: 'page of old', staleness: 'expired' }
      expect(await page(index, fails)).toEqual(stale)
      expect(await pages[index]!.get('page')).toBeUndefined()
      expect(await page(index, fails)).toEqual(stale)
      expect(loads).toBe(before + 2)
    }
    const fresh = { value: 'page of new', staleness: 'none' }
    expect(await page(0, async () => 'new')).toEqual(fresh)
    expect(await page(0, fails)).toEqual(fresh)
  })

  if (tiers !== 'L2 only' && nodeCount === 1) {
    test('a node cut off from Postgres answers what it has, marked as unverified, and else fails', async () => {
      const proxy = await startProxy(cluster().database.url)
      const alone = await startTestNode(cluster().database, {
        databaseUrl: proxy.url,
        redis: tiers !== 'L1 only',
        env: { MAX_STALENESS_MS: '400', CHECK_INTERVAL_MS: '100' },
      })
      try {
        const { lease, caches } = alone.parts
        const declaration = { ...safe, failSafeThrottleMs: 60_000 }
        const [keeping, honest] = [
          caches.add<unknown, string>({ name: 'keeping', ...declaration }),
          caches.add<unknown, string>({ name: 'honest' }),
        ]
        for (const cache of [keeping, honest]) await cache.getOrCreate('a', async () => 'old')
        proxy.cut()
        await until('it has lost its lease', () => !lease.holds())
        const unverified = { value: 'old', staleness: 'unverified' }
        for (let i = 0; i < 2; i++) expect(await ask(alone, keeping, 'a', fails)).toEqual(unverified)
        await expect(ask(alone, honest, 'a', fails)).rejects.toThrow()
        proxy.restore()
        await until('it has a lease again', () => lease.holds())
        // Nothing was missed meanwhile: it is as fresh as it was.
        for (const cache of [keeping, honest])
          expect(await ask(alone, cache, 'a', fails)).toEqual({ value: 'old', staleness: 'none' })
      } finally {
        proxy.restore()
        await alone.stop()
        await proxy.close()
      }
    })
  }

  test('nothing of another epoch is answered: it may never have been committed in this one', async () => {
    const caches = await filled({ ...safe, allowInvalidated: true })
    await cluster().change({ keys: ['another'] })
    const { epoch, position } = node(0).parts.applied
    await setBack(cluster().database, position - 1)
    await until('all nodes have entered a new epoch', async () => {
      await cluster().inStep()
      return cluster().nodes.every(({ parts }) => parts.applied.epoch !== epoch)
    })
    await expectNoAnswer(caches)
    for (const cache of caches) expect(await cache.getOrCreate('a', async () => 'new')).toBe('new')
  })
})
