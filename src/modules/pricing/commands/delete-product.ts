import { inject } from 'inversify'
import { z } from 'zod'
import { type CommandHandler, commandHandler } from '../../../kernel/cqrs/handlers.js'
import { command } from '../../../kernel/cqrs/message.js'
import { assertPrecondition, Precondition } from '../../../kernel/http/entity-tag.js'
import { UnitOfWork } from '../../../kernel/persistence/unit-of-work.js'
import { Product } from '../domain/product.js'
import { productNotFound } from '../domain/product-not-found.js'
import { Sku } from '../product-view.js'

export class DeleteProduct extends command(
  z.strictObject({ sku: Sku, precondition: Precondition }),
).returning<void>() {}

@commandHandler(DeleteProduct)
export class DeleteProductHandler implements CommandHandler<DeleteProduct> {
  constructor(@inject(UnitOfWork) private readonly unitOfWork: UnitOfWork) {}

  async execute({ sku, precondition }: DeleteProduct): Promise<void> {
    const products = this.unitOfWork.of(Product)
    const product = await products.find(sku)
    if (!product?.exists) throw productNotFound(sku)
    assertPrecondition(precondition, product)
    product.remove(new Date())
    await products.save(product)
  }
}
