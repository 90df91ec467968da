import { describe, expect, test } from '@jest/globals'
import fc from 'fast-check'
import { pino } from 'pino'
import { CacheInvalidated, declareCacheInvalidated } from '../../../src/kernel/cache/cache-invalidated.js'
import { domainEvent, z } from '../../../src/kernel/domain/index.js'
import { AppliedJournal } from '../../../src/kernel/journal/applied-journal.js'
import { dependencyOn, InvalidationRules, on } from '../../../src/kernel/journal/invalidation-rules.js'
import type { JournalMessage } from '../../../src/kernel/journal/journal.js'
import { LastInvalidations } from '../../../src/kernel/journal/last-invalidations.js'
import { seed } from '../../support/seed.js'
import { silentLogger } from '../../support/silent-logger.js'

class Renamed extends domainEvent('shop.renamed', z.object({ id: z.string() })) {}
class Unheard extends domainEvent('shop.unheard', z.object({ id: z.string() })) {}
class Fragile extends domainEvent('shop.fragile', z.object({ id: z.string() })) {}
class Swept extends domainEvent('yard.swept', z.object({ id: z.string() })) {}
class Moved extends domainEvent('depot.moved', z.object({ id: z.string() })) {}

const epoch = '00000000000000e1'

function journal(logger = silentLogger) {
  const rules = new InvalidationRules([Renamed, Unheard, Fragile, Moved, Swept])
  rules.declare(
    'ShopQuery',
    on(Renamed, ({ id }) => ({ keys: [id], tags: [`shop:${id}`] })),
  )
  rules.declare(
    'ShopQuery',
    on(Fragile, () => {
      throw new Error('a mapping with a mistake')
    }),
  )
  rules.declare(
    'DepotQuery',
    on(Moved, ({ id }) => ({ keys: [id] })),
  )
  declareCacheInvalidated(rules)
  const applied = new AppliedJournal(new LastInvalidations(65_536, 1), rules, logger)
  applied.enterEpoch(epoch, 0, null)
  /** Whether a value that was loaded at `position` may still be served. */
  const fresh = (position: number, ...names: string[]) =>
    applied.isFresh(
      { epoch, position },
      names.map((name) => applied.invalidations.slotOf(name)),
    )
  /** What has become of a value that was loaded at `position`. */
  const standing = (position: number, ...names: string[]) =>
    applied.standingOf(
      { epoch, position },
      names.map((name) => applied.invalidations.slotOf(name)),
    )
  return { applied, fresh, standing }
}

function message(position: number, type = 'shop.renamed', payload: unknown = { id: 'a' }): JournalMessage {
  return { position, numberingId: `call-${position}`, type, payload }
}

function invalidated(position: number, payload: CacheInvalidated['payload']): JournalMessage {
  return message(position, CacheInvalidated.eventName, payload)
}

const shopA = dependencyOn.key('ShopQuery', 'a')
const shopB = dependencyOn.key('ShopQuery', 'b')
const depotA = dependencyOn.key('DepotQuery', 'a')
const anyShop = dependencyOn.cache('ShopQuery')
const anyDepot = dependencyOn.cache('DepotQuery')

describe('applying the journal', () => {
  test('a message that follows the position takes effect, on the keys and tags that the query declares', () => {
    const { applied, fresh } = journal()
    expect(applied.apply([message(1)])).toBe('applied')
    expect(applied.position).toBe(1)
    expect(applied.numberingId).toBe('call-1')
    expect(fresh(0, shopA)).toBe(false)
    expect(fresh(0, dependencyOn.tag('shop:a'))).toBe(false)
    expect(fresh(1, shopA)).toBe(true)
    expect(fresh(0, shopB)).toBe(true)
    expect(fresh(0, depotA)).toBe(true)
  })

  test('behind a gap nothing is applied and nothing is skipped', () => {
    const { applied, fresh } = journal()
    expect(applied.apply([message(1), message(3)])).toBe('gap')
    expect(applied.position).toBe(1)
    expect(fresh(1, shopA)).toBe(true)
    expect(applied.apply([message(2, 'shop.unheard'), message(3)])).toBe('applied')
    expect(applied.position).toBe(3)
    expect(applied.statistics.gaps).toBe(1)
  })

  test('a repeated or old batch changes nothing', () => {
    const { applied } = journal()
    const batch = [message(1), message(2), message(3)]
    applied.apply(batch)
    expect(applied.apply(batch)).toBe('applied')
    expect(applied.apply([message(2)])).toBe('applied')
    expect(applied.position).toBe(3)
    expect(applied.statistics.applied).toBe(3)
  })

  test('batches in any order, repeated and lost, end in the same state once all has arrived', () => {
    const history = Array.from({ length: 12 }, (_, index) =>
      message(index + 1, index % 3 ? 'shop.renamed' : 'depot.moved', { id: index % 2 ? 'a' : 'b' }),
    )
    const batch = fc.tuple(fc.nat(11), fc.nat(11)).map(([from, length]) => history.slice(from, from + length))
    const names = [shopA, shopB, depotA, anyShop, dependencyOn.key('DepotQuery', 'b')]
    const lasts = (applied: AppliedJournal) =>
      names.map((name) => applied.invalidations.lastOf([applied.invalidations.slotOf(name)]))
    const straight = journal()
    straight.applied.apply(history)
    fc.assert(
      fc.property(fc.array(batch), (batches) => {
        const { applied } = journal()
        for (const each of batches) {
          const before = applied.position
          applied.apply(each)
          expect(applied.position).toBeGreaterThanOrEqual(before)
        }
        applied.apply(history)
        expect(applied.position).toBe(12)
        expect(lasts(applied)).toEqual(lasts(straight.applied))
      }),
      { seed },
    )
  })

  test('a payload that does not fit its schema makes everything stale', () => {
    const { applied, fresh } = journal()
    applied.apply([message(1, 'shop.renamed', { id: 7 })])
    expect(fresh(0, shopB)).toBe(false)
    expect(fresh(0, depotA)).toBe(false)
    expect(fresh(1, depotA)).toBe(true)
    expect(applied.statistics.flushes).toBe(1)
    expect(applied.position).toBe(1)
  })

  test('a mapping that throws makes everything stale, and the journal goes on', () => {
    const { applied, fresh } = journal()
    expect(applied.apply([message(1, 'shop.fragile'), message(2)])).toBe('applied')
    expect(fresh(0, depotA)).toBe(false)
    expect(applied.position).toBe(2)
  })

  test('an unknown event of a known module makes only that module’s listeners stale', () => {
    const { applied, fresh } = journal()
    applied.apply([message(1, 'shop.closed-by-a-newer-release')])
    expect(fresh(0, shopA, anyShop)).toBe(false)
    expect(fresh(0, depotA, anyDepot)).toBe(true)
    expect(fresh(1, shopA, anyShop)).toBe(true)
  })

  test.each([
    ['an event of a module that nobody listens to', 'elsewhere.happened'],
    ['a known event that no query listens to', 'shop.unheard'],
    ['a name without a module', 'happened'],
  ])('%s makes nothing stale', (_what, type) => {
    const { applied, fresh } = journal()
    applied.apply([message(1, type)])
    expect(fresh(0, shopA, anyShop)).toBe(true)
    expect(fresh(0, depotA, anyDepot)).toBe(true)
    expect(applied.position).toBe(1)
  })

  test.each([
    ['shops.renamed', 'the event shops.renamed is of no module here; the modules are depot, shop, yard'],
    ['Renamed', 'the event Renamed is of no module here; the modules are depot, shop, yard'],
    ['yard.swept-twice', 'the event yard.swept-twice is unknown here, and no cache listens to its module'],
  ])('the unknown event %s, which makes nothing stale, is logged once', (type, reason) => {
    const lines: unknown[] = []
    const { applied, fresh } = journal(pino({}, { write: (line) => lines.push(JSON.parse(line)) }))
    applied.apply([message(1, type), message(2, type), message(3, 'yard.swept')])
    expect(applied.position).toBe(3)
    expect(fresh(0, dependencyOn.key('ShopQuery', 'a'), dependencyOn.cache('ShopQuery'))).toBe(true)
    expect(lines).toEqual([
      expect.objectContaining({ level: 40, position: 1, reason, msg: 'an event has made nothing stale' }),
    ])
  })

  test('a flush makes stale what was loaded before, and continues at the head', () => {
    const { applied, fresh } = journal()
    applied.flushTo({ epoch, head: 40, headId: 'call-40' }, 'missing')
    expect(fresh(39, shopA)).toBe(false)
    expect(fresh(40, shopA)).toBe(true)
    expect(applied.apply([message(41)])).toBe('applied')
  })

  test('stamps of another epoch are never fresh again, however high', () => {
    const { applied, fresh } = journal()
    let entered = ''
    applied.onEpoch((next) => {
      entered = next
    })
    applied.apply([message(1), message(2)])
    applied.enterEpoch('00000000000000e2', 1, 'call-1')
    expect(entered).toBe('00000000000000e2')
    expect(fresh(1_000_000, shopB)).toBe(false)
    expect(applied.isFresh({ epoch: '00000000000000e2', position: 1 }, [])).toBe(true)
    expect(applied.isFresh({ epoch: '00000000000000e2', position: 0 }, [])).toBe(false)
  })
})

describe('the token of an answer', () => {
  test('says pending until a check that began after the answer was obtained has succeeded', () => {
    const { applied } = journal()
    expect(applied.tokenOf(10).position).toBe('pending')
    applied.checked(10, 5)
    expect(applied.tokenOf(10).position).toBe('pending')
    applied.checked(11, 6)
    expect(applied.tokenOf(10)).toEqual({ epoch, position: 6 })
  })

  test('a check that began earlier and ended later takes nothing back', () => {
    const { applied } = journal()
    applied.checked(20, 8)
    applied.checked(15, 7)
    expect(applied.tokenOf(18).position).toBe(8)
  })

  test('says pending in a new epoch, whatever the old one’s checks have found', () => {
    const { applied } = journal()
    applied.checked(20, 8)
    applied.enterEpoch('00000000000000e2', 0, null)
    expect(applied.tokenOf(1)).toEqual({ epoch: '00000000000000e2', position: 'pending' })
  })
})

describe('what has become of a value', () => {
  const cache = 'ShopQuery'

  test('an event supersedes, an expiry ends its time, a removal takes it away', () => {
    const { applied, standing } = journal()
    applied.apply([
      message(1),
      invalidated(2, { cache, keys: ['b'], mode: 'expire' }),
      invalidated(3, { cache, keys: ['c'], mode: 'remove' }),
    ])
    expect(standing(0, shopA)).toBe('invalidated')
    expect(standing(0, shopB)).toBe('expired')
    expect(standing(0, dependencyOn.key(cache, 'c'))).toBe('removed')
    expect(standing(0, depotA)).toBe('fresh')
    expect(standing(3, shopA, shopB, dependencyOn.key(cache, 'c'))).toBe('fresh')
  })

  test('the worst of what happened to any of its names decides, in whatever order it happened', () => {
    const { applied, standing } = journal()
    applied.apply([
      invalidated(1, { cache, keys: ['a'] }),
      message(2),
      invalidated(3, { cache, keys: ['a'], mode: 'expire' }),
    ])
    expect([0, 1, 2, 3].map((position) => standing(position, shopB, shopA))).toEqual([
      'removed',
      'invalidated',
      'expired',
      'fresh',
    ])
  })

  test('no expiry after a removal makes the removed copy usable again', () => {
    const { applied, standing } = journal()
    applied.apply([
      invalidated(1, { cache, keys: ['a'] }),
      invalidated(2, { cache, keys: ['a'], mode: 'expire' }),
      invalidated(3, { cache, all: true, mode: 'expire' }),
      invalidated(4, { mode: 'expire' }),
    ])
    expect(standing(0, shopA, anyShop)).toBe('removed')
    expect(standing(1, shopA, anyShop)).toBe('expired')
  })

  test.each([
    ['expires', 'expire', 'expired'],
    ['removes', 'remove', 'removed'],
  ] as const)('clearing %s: one cache, a tag of every cache, or everything', (_what, mode, expected) => {
    const clear = (payload: CacheInvalidated['payload']) => {
      const { applied, standing } = journal()
      applied.apply([invalidated(1, { ...payload, mode })])
      return [standing(0, anyShop), standing(0, anyDepot, dependencyOn.tag('t')), standing(0, anyDepot)]
    }
    expect(clear({ cache, all: true })).toEqual([expected, 'fresh', 'fresh'])
    for (const named of [{ cache }, {}])
      expect(clear({ ...named, tags: ['t'] })).toEqual(['fresh', expected, 'fresh'])
    expect(clear({})).toEqual([expected, expected, expected])
  })

  test.each<[string, CacheInvalidated['payload']]>([
    ['keys', { cache, keys: ['a'] }],
    ['a tag', { cache, tags: ['t'] }],
    ['a cache', { cache, all: true }],
    ['everything', {}],
  ])('a message of an older release, which knows one kind only, removes: %s', (_what, payload) => {
    const { applied, standing } = journal()
    applied.apply([invalidated(1, payload)])
    expect(standing(0, shopA, anyShop, dependencyOn.tag('t'))).toBe('removed')
  })

  test('a set by another node supersedes what is here', () => {
    const { applied, standing } = journal()
    applied.apply([invalidated(1, { cache, keys: ['a'], mode: 'supersede', setId: 'one set' })])
    expect(standing(0, shopA)).toBe('invalidated')
    expect(standing(0, shopB)).toBe('fresh')
  })

  test('a flush supersedes everything', () => {
    const { applied, standing } = journal()
    applied.apply([message(1, 'shop.fragile')])
    expect(standing(0, depotA)).toBe('invalidated')
  })

  test('of what is older than messages that are gone, nothing is left: they may have been removals', () => {
    const { applied, standing } = journal()
    applied.flushTo({ epoch, head: 9, headId: 'call-9' }, 'missing')
    expect(standing(8, depotA)).toBe('removed')
    expect(standing(9, depotA)).toBe('fresh')
  })

  test.each([
    ['cache.unheard-of', {}],
    [CacheInvalidated.eventName, { keys: 7 }],
  ])('%s that cannot be read may have been a removal', (type, payload) => {
    const { applied, standing } = journal()
    applied.apply([message(1, type, payload)])
    expect(standing(0, depotA)).toBe('removed')
  })

  test('of another epoch nothing is left, and of what is older than its own history, nothing is known', () => {
    const { applied, standing } = journal()
    applied.enterEpoch('00000000000000e2', 5, 'call-5')
    expect(standing(1_000_000, shopA)).toBe('removed')
    applied.enterEpoch(epoch, 5, 'call-5')
    expect(standing(4, shopA)).toBe('removed')
    expect(standing(5, shopA)).toBe('fresh')
  })
})

describe('who listens to messages', () => {
  test('is called right before the effect, once for each that is applied', () => {
    const { applied, fresh } = journal()
    const heard: [heard: number, applied: number, fresh: boolean][] = []
    applied.onMessage(({ position }) => heard.push([position, applied.position, fresh(0, shopA)]))
    applied.apply([message(1, 'shop.unheard'), message(2), message(4)])
    applied.apply([message(2), message(3)])
    expect(heard).toEqual([
      [1, 0, true],
      [2, 1, true],
      [3, 2, false],
    ])
  })

  test('can judge a value by all that came before a message and by nothing after it', () => {
    const { applied } = journal()
    const slots = [applied.invalidations.slotOf(shopA)]
    const own = (position: number) =>
      invalidated(position, { cache: 'ShopQuery', keys: ['a'], mode: 'supersede', setId: 'own' })
    const judged: boolean[] = []
    applied.onMessage(({ type }) => {
      if (type === CacheInvalidated.eventName) judged.push(applied.isFresh({ epoch, position: 0 }, slots))
    })
    applied.apply([own(1), message(2), own(3)])
    expect(judged).toEqual([true, false])
  })

  test('hears nothing more once it has stopped, not even within a batch', () => {
    const { applied } = journal()
    const heard: number[] = []
    const stop = applied.onMessage(({ position }) => {
      heard.push(position)
      if (position === 2) stop()
    })
    applied.apply([message(1), message(2), message(3)])
    stop()
    expect(heard).toEqual([1, 2])
  })

  test('cannot stop the journal, or whoever else listens, by throwing', () => {
    const { applied, fresh } = journal()
    const heard: number[] = []
    applied.onMessage(() => {
      throw new Error('a listener with a mistake')
    })
    applied.onMessage(({ position }) => heard.push(position))
    expect(applied.apply([message(1), message(2)])).toBe('applied')
    expect(applied.position).toBe(2)
    expect(fresh(1, shopA)).toBe(false)
    expect(heard).toEqual([1, 2])
  })
})

describe('an observer of the journal', () => {
  test('is told of gaps, flushes, epochs and what a check brought', () => {
    const { applied } = journal()
    const told: unknown[] = []
    applied.observe({
      gap: (gap) => told.push(gap),
      flushed: (flush) => told.push(flush),
      epochEntered: (entered) => told.push(entered),
      caughtUp: (reach) => told.push(reach),
    })
    applied.apply([message(1), message(5)])
    applied.apply([message(2, 'shop.renamed', { id: 7 })])
    applied.flushTo({ epoch, head: 9, headId: 'call-9' }, 'missing')
    applied.apply([invalidated(10, {})])
    applied.caughtUp(10, 10)
    applied.caughtUp(9, 10)
    applied.enterEpoch('00000000000000e2', 3, 'call-3')
    expect(told).toEqual([
      { applied: 1, received: 5 },
      { position: 2, reason: 'the payload of shop.renamed does not fit its schema' },
      { position: 9, reason: 'missing' },
      { position: 10, reason: 'cache.invalidated asks for it' },
      { from: 9, to: 10 },
      { epoch: '00000000000000e2', position: 3 },
    ])
  })

  test('that throws never stops the journal, and keeps nothing from the next observer', () => {
    const { applied, fresh } = journal()
    const boom = () => {
      throw new Error('an observer with a mistake')
    }
    const told: string[] = []
    applied.observe({ gap: boom, flushed: boom, epochEntered: boom, caughtUp: boom })
    applied.onEpoch(boom)
    applied.observe({
      gap: () => told.push('gap'),
      flushed: () => told.push('flushed'),
      caughtUp: () => told.push('caughtUp'),
    })
    applied.onEpoch((entered) => told.push(entered))
    expect(applied.apply([message(1), message(5)])).toBe('gap')
    expect(applied.apply([message(2, 'shop.fragile'), message(3)])).toBe('applied')
    applied.caughtUp(1, 3)
    expect(fresh(2, shopA)).toBe(false)
    applied.flushTo({ epoch, head: 9, headId: 'call-9' }, 'missing')
    expect(applied.position).toBe(9)
    applied.enterEpoch('00000000000000e2', 3, 'call-3')
    expect(applied.epoch).toBe('00000000000000e2')
    expect(told).toEqual(['gap', 'flushed', 'caughtUp', 'flushed', '00000000000000e2'])
  })
})

describe('the places that a check has to verify', () => {
  const of = (numberingId: string, position: number) => ({ ...message(position), numberingId })

  test('are where each numbering call has left off', () => {
    const { applied } = journal()
    expect(applied.unverified).toEqual([])
    applied.apply([of('a', 1), of('a', 2), of('b', 3)])
    applied.apply([of('b', 4), of('c', 5)])
    expect(applied.unverified).toEqual([
      { position: 2, numberingId: 'a' },
      { position: 4, numberingId: 'b' },
      { position: 5, numberingId: 'c' },
    ])
  })

  test('do not change while a check asks, and what was applied meanwhile is left for the next', () => {
    const { applied } = journal()
    applied.apply([of('a', 1), of('b', 2)])
    const asked = applied.unverified
    applied.apply([of('b', 3), of('c', 4)])
    expect(asked).toEqual([
      { position: 1, numberingId: 'a' },
      { position: 2, numberingId: 'b' },
    ])
    applied.verified(asked)
    expect(applied.unverified).toEqual([
      { position: 3, numberingId: 'b' },
      { position: 4, numberingId: 'c' },
    ])
  })

  test('keep the last that was verified, as an anchor of what comes next', () => {
    const { applied } = journal()
    applied.apply([of('a', 1), of('b', 2)])
    applied.verified(applied.unverified)
    expect(applied.unverified).toEqual([{ position: 2, numberingId: 'b' }])
    applied.apply([of('c', 3)])
    expect(applied.unverified).toEqual([
      { position: 2, numberingId: 'b' },
      { position: 3, numberingId: 'c' },
    ])
  })

  test.each([
    ['its head alone', 'h', [{ position: 9, numberingId: 'h' }]],
    ['none, if it is empty', null, []],
  ])('of what a flush, or another epoch, continues from are %s', (_what, id, places) => {
    for (const startOver of ['flush', 'epoch'] as const) {
      const { applied } = journal()
      applied.apply([of('a', 1), of('b', 2)])
      if (startOver === 'flush') applied.flushTo({ epoch, head: 9, headId: id }, 'a test')
      else applied.enterEpoch('00000000000000e2', 9, id)
      expect(applied.unverified).toEqual(places)
    }
  })
})
