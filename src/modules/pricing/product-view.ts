import { z } from 'zod'
import { displayName, Slug } from '../../kernel/domain/index.js'
import { maximumPriceCents, type Product } from './domain/product.js'

export const Sku = Slug
export const Category = Slug
export const ProductName = displayName(200)
export const PriceCents = z.number().int().min(0).max(maximumPriceCents)
/** Three letters, as in ISO 4217. */
export const Currency = z.string().regex(/^[A-Z]{3}$/)
export const Percent = z.number().min(-90).max(1_000)
export const PageLimit = z.number().int().min(1).max(1_000)
/** The number of items on a page if the client does not choose one. */
export const usualPageLimit = 100

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

/** One page, in order of sku; `next` is the `after` of the following page. */
export const ProductPage = z.object({ items: z.array(ProductView), next: z.string().optional() })
export type ProductPage = z.output<typeof ProductPage>

export function viewOf({ sku, name, category, priceCents, currency, version }: Product): ProductView {
  return { sku, name, category, priceCents, currency, version }
}
