import type { ServiceModule } from '../../kernel/cqrs/module.js'
import { DeleteProduct, DeleteProductHandler } from './commands/delete-product.js'
import { PutProduct, PutProductHandler } from './commands/put-product.js'
import { RepriceCategory, RepriceCategoryHandler } from './commands/reprice-category.js'
import { CategoryRepriced, ProductAdded, ProductChanged, ProductRemoved } from './domain/pricing-events.js'
import { productRoutes } from './http/product-routes.js'
import { GetProduct, GetProductHandler } from './queries/get-product.js'
import { ListProducts, ListProductsHandler } from './queries/list-products.js'

export const pricingModule: ServiceModule = {
  name: 'pricing',
  commands: [PutProduct, DeleteProduct, RepriceCategory],
  queries: [GetProduct, ListProducts],
  events: [ProductAdded, ProductChanged, ProductRemoved, CategoryRepriced],
  handlers: [
    PutProductHandler,
    DeleteProductHandler,
    RepriceCategoryHandler,
    GetProductHandler,
    ListProductsHandler,
  ],
  routes: productRoutes,
}
