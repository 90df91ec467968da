import { displayName, Slug, z } from '../../../kernel/domain/index.js'

/** A check constraint has the same limit, because repricing happens in the database. */
export const maximumPriceCents = 100_000_000_000

export const Sku = Slug
export const Category = Slug
export const ProductName = displayName(200)
export const PriceCents = z.number().int().min(0).max(maximumPriceCents)
/** Three letters, as in ISO 4217. */
export const Currency = z.string().regex(/^[A-Z]{3}$/)
export const Percent = z.number().min(-90).max(1_000)
