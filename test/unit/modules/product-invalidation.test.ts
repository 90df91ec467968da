import { expect, test } from '@jest/globals'
import { declarationOf } from '../../../src/kernel/cqrs/handlers.js'
import type { DomainEvent } from '../../../src/kernel/domain/index.js'
import { nameOf } from '../../../src/kernel/domain/index.js'
import { dependencyOn, InvalidationRules } from '../../../src/kernel/journal/invalidation-rules.js'
import {
  CategoryRepriced,
  ProductAdded,
  ProductChanged,
  ProductRemoved,
} from '../../../src/modules/pricing/domain/pricing-events.js'
import { GetProductHandler } from '../../../src/modules/pricing/queries/get-product.js'
import { ListProductsHandler } from '../../../src/modules/pricing/queries/list-products.js'

/** Raised with each key and tag, for values that depend on very many: they say nothing of one query. */
const coarse = [dependencyOn.anyKey('GetProduct'), dependencyOn.anyKey('ListProducts'), dependencyOn.anyTag]

/** The names of keys and tags that an event makes stale, by what a query declares. */
function staleBy(handler: typeof GetProductHandler | typeof ListProductsHandler, event: DomainEvent) {
  const declaration = declarationOf(handler)
  if (declaration.kind !== 'query' || !declaration.caching) throw new TypeError('not a cached query')
  const rules = new InvalidationRules()
  const { invalidatedBy, createdBy = [] } = declaration.caching
  for (const mapping of [...invalidatedBy, ...createdBy]) rules.declare(declaration.message.name, mapping)
  const effect = rules.effectOf({
    position: 1,
    numberingId: 'n',
    type: nameOf(event),
    payload: event.payload,
  })
  if (!('invalidate' in effect)) return effect
  const names = effect.invalidate.flatMap(({ names }) => names)
  return names.filter((name) => !coarse.includes(name)).sort()
}

const sku = 'tea-1'
const category = 'drinks'

const changesInPlace = [
  new ProductAdded({ sku, category }),
  new ProductRemoved({ sku, category }),
  new ProductChanged({ sku, category, previousCategory: category }),
]
const named = (events: readonly DomainEvent[]) => events.map((event) => [nameOf(event), event] as const)

test.each(named([...changesInPlace, new CategoryRepriced({ category, percent: 5 })]))(
  'the list of all and that of the category hear of %s',
  (_, event) => {
    expect(staleBy(ListProductsHandler, event)).toEqual(
      expect.arrayContaining(['t:products', 't:products:drinks']),
    )
  },
)

test('a move makes the list that it leaves, the one that it enters and the list of all stale', () => {
  const moved = new ProductChanged({ sku, category: 'leaves', previousCategory: 'drinks' })
  expect(staleBy(ListProductsHandler, moved)).toEqual([
    't:products',
    't:products:drinks',
    't:products:leaves',
  ])
})

test('repricing a category makes all its products stale by one name', () => {
  expect(staleBy(GetProductHandler, new CategoryRepriced({ category, percent: 5 }))).toEqual([
    't:category:drinks',
  ])
})

test.each(named(changesInPlace))('one product that changes makes no other product stale: %s', (_, event) => {
  expect(staleBy(GetProductHandler, event)).toEqual(['k:GetProduct:tea-1'])
})
