import { inject } from 'inversify'
import { IsNull, MoreThan } from 'typeorm'
import { z } from 'zod'
import { type QueryHandler, queryHandler } from '../../../kernel/cqrs/handlers.js'
import { query } from '../../../kernel/cqrs/message.js'
import { pageOf } from '../../../kernel/cqrs/page.js'
import { on } from '../../../kernel/journal/invalidation-rules.js'
import { DatabaseReader } from '../../../kernel/persistence/database-reader.js'
import { CategoryRepriced, ProductAdded, ProductChanged, ProductRemoved } from '../domain/pricing-events.js'
import { Product } from '../domain/product.js'
import { Category, PageLimit, type ProductPage, Sku, usualPageLimit, viewOf } from '../product-view.js'

export class ListProducts extends query(
  z.strictObject({ category: Category.optional(), limit: PageLimit, after: Sku.optional() }),
).returning<ProductPage>() {}

// One entry for each category that has products. Were every page kept, a client could make as many entries as it likes, by
// names, limits and places to begin at. The tags are not those of single products: one that changes leaves the others of its category fresh.
@queryHandler(ListProducts, {
  key: ({ category, limit, after }) =>
    limit === usualPageLimit && after === undefined ? (category ?? '*') : undefined,
  keyOfAnswer: 'none',
  keepIf: ({ items }) => items.length > 0,
  tags: ({ category }) => [category === undefined ? 'products' : `products:${category}`],
  invalidatedBy: [
    on(ProductAdded, ({ category }) => ({ tags: ['products', `products:${category}`] })),
    on(ProductChanged, ({ category, previousCategory }) => ({
      tags: ['products', `products:${category}`, `products:${previousCategory}`],
    })),
    on(ProductRemoved, ({ category }) => ({ tags: ['products', `products:${category}`] })),
    on(CategoryRepriced, ({ category }) => ({ tags: ['products', `products:${category}`] })),
  ],
})
export class ListProductsHandler implements QueryHandler<ListProducts> {
  constructor(@inject(DatabaseReader) private readonly database: DatabaseReader) {}

  async execute({ category, limit, after }: ListProducts): Promise<ProductPage> {
    // One more than asked for tells whether another page follows.
    const found = await this.database.read(Product, (products) =>
      products.find({
        where: {
          deletedAt: IsNull(),
          ...(category !== undefined && { category }),
          ...(after !== undefined && { sku: MoreThan(after) }),
        },
        order: { sku: 'ASC' },
        take: limit + 1,
      }),
    )
    return pageOf(found, limit, viewOf, ({ sku }) => sku)
  }
}
