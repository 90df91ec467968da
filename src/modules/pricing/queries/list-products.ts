import { inject } from 'inversify'
import { IsNull, MoreThan } from 'typeorm'
import { z } from 'zod'
import { type QueryHandler, queryHandler } from '../../../kernel/cqrs/handlers.js'
import { query } from '../../../kernel/cqrs/message.js'
import { PageLimit, pageOf, usualPageLimit } from '../../../kernel/cqrs/page.js'
import { on } from '../../../kernel/journal/invalidation-rules.js'
import { DatabaseReader } from '../../../kernel/persistence/database-reader.js'
import { CategoryRepriced, ProductAdded, ProductChanged, ProductRemoved } from '../domain/pricing-events.js'
import { Product } from '../domain/product.js'
import { Category, Sku } from '../domain/values.js'
import { type ProductPage, viewOf } from '../product-view.js'

export class ListProducts extends query(
  z.strictObject({ category: Category.optional(), limit: PageLimit, after: Sku.optional() }),
).returning<ProductPage>() {}

// Only the first page of all products and that of each category with products are cached. Otherwise a client could create any
// number of entries by its choice of `category`, `limit` and `after`. The tags are only for lists: a change of a product does
// not make the other products of its category stale.
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
    // One row more than asked for shows whether another page follows.
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
