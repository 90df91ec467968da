import { z } from 'zod'
import { Slug, text } from '../../kernel/domain/index.js'
import type { FeatureFlag } from './domain/feature-flag.js'

export const FeatureFlagName = Slug
export const Description = text(1_000)
export const PageLimit = z.number().int().min(1).max(1_000)
/** The number of items on a page if the client does not choose one. */
export const usualPageLimit = 100

/** A feature flag as clients see it. */
export const FeatureFlagView = z.object({
  name: z.string(),
  enabled: z.boolean(),
  description: z.string().optional(),
  version: z.number().int(),
})
export type FeatureFlagView = z.output<typeof FeatureFlagView>

/** One page, in order of name; `next` is the `after` of the following page. */
export const FeatureFlagPage = z.object({ items: z.array(FeatureFlagView), next: z.string().optional() })
export type FeatureFlagPage = z.output<typeof FeatureFlagPage>

export function viewOf({ name, enabled, description, version }: FeatureFlag): FeatureFlagView {
  return { name, enabled, ...(description !== null && { description }), version }
}
