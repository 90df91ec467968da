import { inject } from 'inversify'
import { z } from 'zod'
import { type CommandHandler, commandHandler } from '../../../kernel/cqrs/handlers.js'
import { command } from '../../../kernel/cqrs/message.js'
import { Precondition } from '../../../kernel/domain/index.js'
import { UnitOfWork } from '../../../kernel/persistence/unit-of-work.js'
import { Product } from '../domain/product.js'
import { Category, Currency, PriceCents, ProductName, Sku } from '../domain/values.js'
import { type ProductView, viewOf } from '../product-view.js'

export interface ProductPut {
  readonly created: boolean
  readonly product: ProductView
}

export class PutProduct extends command(
  z.strictObject({
    sku: Sku,
    name: ProductName,
    category: Category,
    priceCents: PriceCents,
    currency: Currency,
    precondition: Precondition,
  }),
).returning<ProductPut>() {}

@commandHandler(PutProduct)
export class PutProductHandler implements CommandHandler<PutProduct> {
  constructor(@inject(UnitOfWork) private readonly unitOfWork: UnitOfWork) {}

  async execute({ sku, precondition, ...state }: PutProduct): Promise<ProductPut> {
    const products = this.unitOfWork.of(Product)
    const stored = await products.find(sku, precondition)
    const created = !stored?.exists
    if (!stored) {
      const product = Product.add(sku, state)
      await products.add(product)
      return { created, product: viewOf(product) }
    }
    stored.replace(state)
    await products.save(stored)
    return { created, product: viewOf(stored) }
  }
}
