import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { ContainerModule } from 'inversify'
import type { DomainEvent } from '../../src/kernel/domain/index.js'
import type { Node } from '../../src/node.js'
import { createFreshDatabase, type FreshDatabase } from '../support/fresh-database.js'
import { oneModule } from '../support/one-module.js'
import { startTestNode } from '../support/test-node.js'
import {
  CategoryRepriced,
  GetProduct,
  GetProductHandler,
  type Product,
  ProductAdded,
  ProductChanged,
  ProductRemoved,
  RemoveProduct,
  RemoveProductHandler,
  Shelf,
} from './products.js'

const shelf = new Shelf()
const products = oneModule({
  name: 'products',
  events: [ProductAdded, ProductChanged, ProductRemoved, CategoryRepriced],
  handlers: [GetProductHandler, RemoveProductHandler],
  bindings: new ContainerModule(({ bind }) => {
    bind(Shelf).toConstantValue(shelf)
  }),
})

let database: FreshDatabase
let node: Node
beforeAll(async () => {
  database = await createFreshDatabase()
  node = await startTestNode(database, { redis: false, offered: products })
})
afterAll(async () => {
  await node.stop()
  await database.drop()
})

const green: Product = { sku: 'green', category: 'tea', priceCents: 300 }
const get = () => node.parts.queryBus.execute(new GetProduct({ sku: 'green' }))
const commit = (...events: DomainEvent[]) => node.parts.outbox.write(events)

/** Has the answer cached, by which a write that names no event would be hidden. */
async function cached(expected: Product | null): Promise<void> {
  expect(await get()).toEqual(expected)
  shelf.set('green', { ...green, priceCents: 0 })
  expect(await get()).toEqual(expected)
}

test('a product that is not there is cached, until it is added', async () => {
  shelf.clear()
  await cached(null)
  shelf.set('green', green)
  await commit(new ProductAdded({ sku: 'green' }))
  expect(await get()).toEqual(green)
})

test.each([
  ['changed', new ProductChanged({ sku: 'green' })],
  ['repriced with its category', new CategoryRepriced({ category: 'tea' })],
])('a cached product is not served any more once it is %s', async (_, event) => {
  shelf.set('green', green)
  await commit(new ProductChanged({ sku: 'green' }))
  await cached(green)
  const changed = { ...green, priceCents: 330 }
  shelf.set('green', changed)
  await commit(event)
  expect(await get()).toEqual(changed)
})

test('a cached product is not served any more once it is removed', async () => {
  shelf.set('green', green)
  await commit(new ProductChanged({ sku: 'green' }))
  await cached(green)
  await node.parts.commandBus.execute(new RemoveProduct({ sku: 'green' }))
  expect(await get()).toBeNull()
})
