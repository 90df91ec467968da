import { domainEvent, z } from '../../../kernel/domain/index.js'

const sku = z.string()
const category = z.string()

/** Also raised when a removed product is added again. */
export class ProductAdded extends domainEvent('pricing.product-added', z.object({ sku, category })) {}

/** The two categories are the same unless the product has changed its category. */
export class ProductChanged extends domainEvent(
  'pricing.product-changed',
  z.object({ sku, category, previousCategory: category }),
) {}

export class ProductRemoved extends domainEvent('pricing.product-removed', z.object({ sku, category })) {}

/** Stands for all products of the category, which raise no events of their own. */
export class CategoryRepriced extends domainEvent(
  'pricing.category-repriced',
  z.object({ category, percent: z.number() }),
) {}
