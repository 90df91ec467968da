import { z } from 'zod'
import { Slug, text } from '../../kernel/domain/index.js'
import type { FeatureFlag } from './domain/feature-flag.js'

export const FeatureFlagName = Slug
export const Description = text(1_000)
export const PageLimit = z.number().int().min(1).max(1_000)
/** Items of a page where the client does not say how many. */
export const usualPageLimit = 100

/** What the outside sees of a feature flag. */
export const FeatureFlagView = z.object({
  name: z.string(),
  enabled: z.boolean(),
  description: z.string().optional(),
  version: z.number().int(),
})
export type FeatureFlagView = z.output<typeof FeatureFlagView>

/** One page, in order of name; `next` is the `after` of the following one. */
export const FeatureFlagPage = z.object({ items: z.array(FeatureFlagView), next: z.string().optional() })
export type FeatureFlagPage = z.output<typeof FeatureFlagPage>

export function viewOf({ name, enabled, description, version }: FeatureFlag): FeatureFlagView {
  return { name, enabled, ...(description !== null && { description }), version }
}
