import { describe, expect, test } from '@jest/globals'
import fc from 'fast-check'
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
class Moved extends domainEvent('depot.moved', z.object({ id: z.string() })) {}

const epoch = '00000000000000e1'

function journal() {
  const rules = new InvalidationRules([Renamed, Unheard, Fragile, Moved])
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
  const applied = new AppliedJournal(new LastInvalidations(65_536, 1), rules, silentLogger)
  applied.enterEpoch(epoch, 0, null)
  /** Whether a value that was loaded at `position` may still be served. */
  const fresh = (position: number, ...names: string[]) =>
    applied.isFresh(
      { epoch, position },
      names.map((name) => applied.invalidations.slotOf(name)),
    )
  return { applied, fresh }
}

function message(position: number, type = 'shop.renamed', payload: unknown = { id: 'a' }): JournalMessage {
  return { position, numberingId: `call-${position}`, type, payload }
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
    const lasts = ({ applied }: ReturnType<typeof journal>) =>
      names.map((name) => applied.invalidations.lastOf([applied.invalidations.slotOf(name)]))
    const straight = journal()
    straight.applied.apply(history)
    fc.assert(
      fc.property(fc.array(batch), (batches) => {
        const { applied, fresh } = journal()
        for (const each of batches) {
          const before = applied.position
          applied.apply(each)
          expect(applied.position).toBeGreaterThanOrEqual(before)
        }
        applied.apply(history)
        expect(applied.position).toBe(12)
        expect(lasts({ applied, fresh })).toEqual(lasts(straight))
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
