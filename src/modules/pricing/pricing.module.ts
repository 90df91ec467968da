import type { ServiceModule } from '../../kernel/cqrs/module.js'
import { DeleteProductHandler } from './commands/delete-product.js'
import { PutProductHandler } from './commands/put-product.js'
import { RepriceCategoryHandler } from './commands/reprice-category.js'
import * as pricingEvents from './domain/pricing-events.js'
import { Product } from './domain/product.js'
import { productRoutes } from './http/product-routes.js'
import { GetProductHandler } from './queries/get-product.js'
import { ListProductsHandler } from './queries/list-products.js'

export const pricingModule: ServiceModule = {
  name: 'pricing',
  entities: [Product],
  events: pricingEvents,
  handlers: [
    PutProductHandler,
    DeleteProductHandler,
    RepriceCategoryHandler,
    GetProductHandler,
    ListProductsHandler,
  ],
  routes: productRoutes,
}
