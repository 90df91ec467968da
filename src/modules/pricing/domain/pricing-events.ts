import { domainEvent, z } from '../../../kernel/domain/index.js'

const sku = z.string()
const category = z.string()

/** Also raised when a removed one comes back. */
export class ProductAdded extends domainEvent('pricing.product-added', z.object({ sku, category })) {}

/** The two categories are the same unless the product has moved. */
export class ProductChanged extends domainEvent(
  'pricing.product-changed',
  z.object({ sku, category, previousCategory: category }),
) {}

export class ProductRemoved extends domainEvent('pricing.product-removed', z.object({ sku, category })) {}

/** Stands for all its products: none of them raises an event of its own. */
export class CategoryRepriced extends domainEvent(
  'pricing.category-repriced',
  z.object({ category, percent: z.number() }),
) {}
