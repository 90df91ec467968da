import { inject } from 'inversify'
import { IsNull } from 'typeorm'
import { z } from 'zod'
import { type QueryHandler, queryHandler } from '../../../kernel/cqrs/handlers.js'
import { query } from '../../../kernel/cqrs/message.js'
import { on } from '../../../kernel/journal/invalidation-rules.js'
import { DatabaseReader } from '../../../kernel/persistence/database-reader.js'
import { CategoryRepriced, ProductAdded, ProductChanged, ProductRemoved } from '../domain/pricing-events.js'
import { Product } from '../domain/product.js'
import { Sku } from '../domain/values.js'
import { type ProductView, viewOf } from '../product-view.js'

export class GetProduct extends query(z.strictObject({ sku: Sku })).returning<ProductView | null>() {}

@queryHandler(GetProduct, {
  key: ({ sku }) => sku,
  keyOfAnswer: ({ sku }) => sku,
  tags: (_, product) => (product ? [`category:${product.category}`] : []),
  createdBy: [on(ProductAdded, ({ sku }) => ({ keys: [sku] }))],
  invalidatedBy: [
    on(ProductChanged, ({ sku }) => ({ keys: [sku] })),
    on(ProductRemoved, ({ sku }) => ({ keys: [sku] })),
    on(CategoryRepriced, ({ category }) => ({ tags: [`category:${category}`] })),
  ],
})
export class GetProductHandler implements QueryHandler<GetProduct> {
  constructor(@inject(DatabaseReader) private readonly database: DatabaseReader) {}

  async execute({ sku }: GetProduct): Promise<ProductView | null> {
    const product = await this.database.read(Product, (products) =>
      products.findOneBy({ sku, deletedAt: IsNull() }),
    )
    return product && viewOf(product)
  }
}
