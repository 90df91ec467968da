import { inject } from 'inversify'
import {
  type CommandHandler,
  commandHandler,
  type QueryHandler,
  queryHandler,
} from '../../src/kernel/cqrs/handlers.js'
import { command, query } from '../../src/kernel/cqrs/message.js'
import { domainEvent, Slug, z } from '../../src/kernel/domain/index.js'
import { on } from '../../src/kernel/journal/invalidation-rules.js'
import { UnitOfWork } from '../../src/kernel/persistence/unit-of-work.js'

export interface Product {
  readonly sku: string
  readonly category: string
  readonly priceCents: number
}

/** Stands for a table, by sku. */
export class Shelf extends Map<string, Product> {}

export class ProductAdded extends domainEvent('products.product-added', z.object({ sku: Slug })) {}

export class ProductChanged extends domainEvent('products.product-changed', z.object({ sku: Slug })) {}

export class ProductRemoved extends domainEvent('products.product-removed', z.object({ sku: Slug })) {}

/** Stands for all products of the category, which raise no events of their own. */
export class CategoryRepriced extends domainEvent(
  'products.category-repriced',
  z.object({ category: Slug }),
) {}

export class GetProduct extends query(z.strictObject({ sku: Slug })).returning<Product | null>() {}

@queryHandler(GetProduct, {
  key: ({ sku }) => sku,
  keyOfAnswer: (product) => product.sku, // compared with `key` after each load
  tags: (_, product) => (product ? [`category:${product.category}`] : []), // may follow from the answer
  createdBy: [on(ProductAdded, ({ sku }) => ({ keys: [sku] }))], // lets "not there" be cached as well
  invalidatedBy: [
    on(ProductChanged, ({ sku }) => ({ keys: [sku] })),
    on(ProductRemoved, ({ sku }) => ({ keys: [sku] })),
    on(CategoryRepriced, ({ category }) => ({ tags: [`category:${category}`] })),
  ],
  failSafe: true,
  softTimeoutMs: 200,
})
export class GetProductHandler implements QueryHandler<GetProduct> {
  constructor(@inject(Shelf) private readonly shelf: Shelf) {}

  async execute({ sku }: GetProduct): Promise<Product | null> {
    return this.shelf.get(sku) ?? null
  }
}

export class RemoveProduct extends command(z.strictObject({ sku: Slug })).returning<void>() {}

@commandHandler(RemoveProduct)
export class RemoveProductHandler implements CommandHandler<RemoveProduct> {
  constructor(
    @inject(UnitOfWork) private readonly unitOfWork: UnitOfWork,
    @inject(Shelf) private readonly shelf: Shelf,
  ) {}

  async execute({ sku }: RemoveProduct): Promise<void> {
    await this.unitOfWork.changeMany([new ProductRemoved({ sku })], async () => this.shelf.delete(sku))
  }
}
