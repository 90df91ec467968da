import { z } from 'zod'
import { maximumPriceCents, type Product } from './domain/product.js'

export const Sku = z.string().regex(/^[A-Za-z0-9._-]{1,64}$/)
export const Category = z.string().regex(/^[A-Za-z0-9._-]{1,64}$/)
/** Postgres stores neither U+0000 nor half a surrogate pair. */
export const ProductName = z
  .string()
  .trim()
  .min(1)
  .max(200)
  .regex(/^[^\0\p{Cs}]*$/u)
export const PriceCents = z.number().int().min(0).max(maximumPriceCents)
/** The form of ISO 4217. */
export const Currency = z.string().regex(/^[A-Z]{3}$/)
export const Percent = z.number().min(-90).max(1_000)
export const PageLimit = z.number().int().min(1).max(1_000)

/** What the outside sees of a product. */
export const ProductView = z.object({
  sku: z.string(),
  name: z.string(),
  category: z.string(),
  priceCents: z.number().int(),
  currency: z.string(),
  version: z.number().int(),
})
export type ProductView = z.output<typeof ProductView>

/** One page, in order of sku; `next` is the `after` of the following one. */
export const ProductPage = z.object({ items: z.array(ProductView), next: z.string().optional() })
export type ProductPage = z.output<typeof ProductPage>

export function viewOf({ sku, name, category, priceCents, currency, version }: Product): ProductView {
  return { sku, name, category, priceCents, currency, version }
}
