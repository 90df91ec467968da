import { describe, expect, test } from '@jest/globals'
import { domainEvent, z } from '../../../src/kernel/domain/index.js'
import { AppliedJournal } from '../../../src/kernel/journal/applied-journal.js'
import { dependencyOn, InvalidationRules, on } from '../../../src/kernel/journal/invalidation-rules.js'
import type { JournalMessage } from '../../../src/kernel/journal/journal.js'
import { LastInvalidations } from '../../../src/kernel/journal/last-invalidations.js'
import { silentLogger } from '../../support/silent-logger.js'

function boom(): never {
  throw new Error('a schema with a mistake')
}

class Fine extends domainEvent('shop.fine', z.object({ id: z.string() })) {}
class Transforms extends domainEvent('shop.transforms', z.object({ id: z.string().transform(boom) })) {}
class Refines extends domainEvent('shop.refines', z.object({ id: z.string().refine(boom) })) {}
class Waits extends domainEvent('shop.waits', z.object({ id: z.string().refine(async () => true) })) {}
class Preprocesses extends domainEvent(
  'shop.preprocesses',
  z.object({ id: z.preprocess(boom, z.string()) }),
) {}
class ThrowsNothing extends domainEvent(
  'shop.throws-nothing',
  z.object({
    id: z.string().transform((): string => {
      throw undefined
    }),
  }),
) {}

const epoch = '00000000000000e1'
const fragile = [Transforms, Refines, Waits, Preprocesses, ThrowsNothing]

function startJournal() {
  const rules = new InvalidationRules([Fine, ...fragile])
  for (const event of [Fine, ...fragile]) {
    rules.declare(
      'ShopQuery',
      on(event, ({ id }) => ({ keys: [String(id)] })),
    )
  }
  const applied = new AppliedJournal(new LastInvalidations(65_536, 1), rules, silentLogger)
  applied.enterEpoch(epoch, 0, null)
  const isFresh = (position: number, name: string) =>
    applied.isFresh({ epoch, position }, [applied.invalidations.slotOf(name)])
  return { applied, isFresh }
}

function message(position: number, type: string): JournalMessage {
  return { position, numberingId: `call-${position}`, type, payload: { id: 'a' } }
}

const unrelated = dependencyOn.key('DepotQuery', 'z')

describe('an event whose schema throws', () => {
  test.each(fragile.map(({ eventName }) => [eventName]))(
    '%s: flushes instead of throwing, and the journal goes on',
    (type) => {
      const { applied, isFresh } = startJournal()
      expect(applied.apply([message(1, 'shop.fine'), message(2, type), message(3, 'shop.fine')])).toBe(
        'applied',
      )
      expect(applied.position).toBe(3)
      expect(applied.numberingId).toBe('call-3')
      expect(applied.statistics).toMatchObject({ applied: 3, flushes: 1 })
      expect(isFresh(1, unrelated)).toBe(false)
      expect(isFresh(2, unrelated)).toBe(true)
      expect(isFresh(2, dependencyOn.key('ShopQuery', 'a'))).toBe(false)
    },
  )

  test('is flushed for once at each such event, not at those beside it', () => {
    const { applied } = startJournal()
    applied.apply([message(1, 'shop.transforms'), message(2, 'shop.fine'), message(3, 'shop.refines')])
    expect(applied.statistics.flushes).toBe(2)
  })
})
