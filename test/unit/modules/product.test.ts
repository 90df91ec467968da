import { describe, expect, test } from '@jest/globals'
import { nameOf } from '../../../src/kernel/domain/index.js'
import { Product } from '../../../src/modules/pricing/domain/product.js'
import { Percent, PriceCents, ProductName, Sku } from '../../../src/modules/pricing/domain/values.js'

const tea = { name: 'Tea', category: 'drinks', priceCents: 105, currency: 'EUR' }

const eventsOf = (product: Product) =>
  product.uncommittedEvents.map((event) => [nameOf(event), event.payload] as const)

/** As the unit of work leaves it after COMMIT. */
function stored(): Product {
  const product = Product.add('tea-1', tea)
  product.forgetEventsAfter(0)
  product.version = 1
  return product
}

describe('a product', () => {
  test('raises nothing when it is replaced by what it is', () => {
    const product = stored()
    product.replace({ ...tea })
    expect(product.uncommittedEvents).toEqual([])
  })

  test.each([{ name: 'Green tea' }, { priceCents: 0 }, { currency: 'SEK' }])(
    'raises one event when %j changes',
    (change) => {
      const product = stored()
      product.replace({ ...tea, ...change })
      expect(eventsOf(product)).toEqual([
        ['pricing.product-changed', { sku: 'tea-1', category: 'drinks', previousCategory: 'drinks' }],
      ])
    },
  )

  test('that moves names the category that it leaves and the one that it enters', () => {
    const product = stored()
    product.replace({ ...tea, category: 'leaves' })
    expect(eventsOf(product)).toEqual([
      ['pricing.product-changed', { sku: 'tea-1', category: 'leaves', previousCategory: 'drinks' }],
    ])
  })

  test('that was removed is added again, in its new category, and its version goes on', () => {
    const product = stored()
    product.remove(new Date())
    product.replace({ ...tea, category: 'leaves' })
    expect(product.exists).toBe(true)
    expect(product.version).toBe(1)
    expect(eventsOf(product)).toEqual([
      ['pricing.product-removed', { sku: 'tea-1', category: 'drinks' }],
      ['pricing.product-added', { sku: 'tea-1', category: 'leaves' }],
    ])
  })

  test('cannot be removed twice', () => {
    const product = stored()
    product.remove(new Date(1))
    product.remove(new Date(2))
    expect(eventsOf(product)).toHaveLength(1)
  })
})

describe('what pricing accepts', () => {
  test.each([0, 1, 100_000_000_000])('a price of %d cents', (cents) => {
    expect(PriceCents.safeParse(cents).success).toBe(true)
  })
  test.each([-1, 0.5, 100_000_000_001, Number.NaN, '1', null])('no price of %p', (cents) => {
    expect(PriceCents.safeParse(cents).success).toBe(false)
  })

  test.each([-90, -0.5, 0, 33.3, 1_000])('%d percent', (percent) => {
    expect(Percent.safeParse(percent).success).toBe(true)
  })
  test.each([-90.001, 1_000.001, Number.NaN, Number.POSITIVE_INFINITY, '5', null])(
    'no %p percent',
    (percent) => {
      expect(Percent.safeParse(percent).success).toBe(false)
    },
  )

  test.each(['', 'a b', 'a\n', 'a:b', 'a|b', 'é', 'x'.repeat(65)])(
    'no sku %j: a separator in it would make cache keys ambiguous',
    (sku) => {
      expect(Sku.safeParse(sku).success).toBe(false)
    },
  )

  test.each(['', '  ', 'a\0b', '\ud800', 'x'.repeat(201)])('no name %j', (name) => {
    expect(ProductName.safeParse(name).success).toBe(false)
  })
})
