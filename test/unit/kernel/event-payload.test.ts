import { describe, expect, test } from '@jest/globals'
import { AggregateRoot, domainEvent, z } from '../../../src/kernel/domain/index.js'

class Dated extends domainEvent('shop.dated', z.object({ at: z.date() })) {}
class Numeric extends domainEvent('shop.numeric', z.object({ count: z.string().transform(Number) })) {}
class Big extends domainEvent('shop.big', z.object({ cents: z.bigint() })) {}
class Mapped extends domainEvent('shop.mapped', z.object({ prices: z.map(z.string(), z.number()) })) {}
class Deep extends domainEvent('shop.deep', z.object({ lines: z.array(z.object({ at: z.date() })) })) {}

const impossible: [string, () => unknown][] = [
  ['a date', () => new Dated({ at: new Date(0) })],
  ['a text that became a number', () => new Numeric({ count: '7' })],
  ['a bigint', () => new Big({ cents: 7n })],
  ['a map', () => new Mapped({ prices: new Map([['a', 1]]) })],
  ['a date deep inside', () => new Deep({ lines: [{ at: new Date(0) }] })],
]

describe('a payload that its own schema could not read back from the outbox', () => {
  test.each(impossible)('%s: raising the event throws', (_what, raise) => {
    expect(raise).toThrow(TypeError)
  })

  test.each(impossible)(
    '%s: the aggregate has no event, so that nothing of it can be written',
    (_what, raise) => {
      class Thing extends AggregateRoot {
        happen(): void {
          this.raise(raise() as never)
        }
      }
      const thing = new Thing()
      expect(() => thing.happen()).toThrow(TypeError)
      expect(thing.uncommittedEvents).toEqual([])
    },
  )

  test('names the event in its error', () => {
    expect(() => new Dated({ at: new Date(0) })).toThrow('shop.dated')
  })
})

describe('a payload that survives JSON', () => {
  class Sold extends domainEvent(
    'shop.sold',
    z.object({
      at: z.iso.datetime(),
      cents: z.number().int(),
      note: z.string().optional(),
      by: z.string().nullable(),
      lines: z.array(z.object({ sku: z.string().trim(), labels: z.record(z.string(), z.boolean()) })),
      channel: z.string().default('web'),
    }),
  ) {}

  test('is raised, and the outbox reads back what was raised', () => {
    const event = new Sold({
      at: '2026-01-02T03:04:05Z',
      cents: 1_250,
      note: undefined,
      by: null,
      lines: [{ sku: ' a ', labels: { gift: true } }],
    })
    const stored: unknown = JSON.parse(JSON.stringify(event.payload))
    expect(Sold.schema.parse(stored)).toEqual(event.payload)
    expect(event.payload).toMatchObject({ channel: 'web', by: null, lines: [{ sku: 'a' }] })
  })
})
