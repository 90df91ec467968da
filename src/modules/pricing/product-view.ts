import { z } from 'zod'
import { pageSchema } from '../../kernel/cqrs/page.js'
import type { Product } from './domain/product.js'

/** A product as clients see it. */
export const ProductView = z.object({
  sku: z.string(),
  name: z.string(),
  category: z.string(),
  priceCents: z.number().int(),
  currency: z.string(),
  version: z.number().int(),
})
export type ProductView = z.output<typeof ProductView>

/** In order of sku. */
export const ProductPage = pageSchema(ProductView)
export type ProductPage = z.output<typeof ProductPage>

export function viewOf({ sku, name, category, priceCents, currency, version }: Product): ProductView {
  return { sku, name, category, priceCents, currency, version }
}
