import { inject } from 'inversify'
import { z } from 'zod'
import { type CommandHandler, commandHandler } from '../../../kernel/cqrs/handlers.js'
import { command } from '../../../kernel/cqrs/message.js'
import { Precondition } from '../../../kernel/domain/index.js'
import { UnitOfWork } from '../../../kernel/persistence/unit-of-work.js'
import { Product } from '../domain/product.js'
import { Sku } from '../domain/values.js'

export class DeleteProduct extends command(
  z.strictObject({ sku: Sku, precondition: Precondition }),
).returning<void>() {}

@commandHandler(DeleteProduct)
export class DeleteProductHandler implements CommandHandler<DeleteProduct> {
  constructor(@inject(UnitOfWork) private readonly unitOfWork: UnitOfWork) {}

  async execute({ sku, precondition }: DeleteProduct): Promise<void> {
    const products = this.unitOfWork.of(Product)
    const product = await products.get(sku, precondition)
    product.remove(new Date())
    await products.save(product)
  }
}
