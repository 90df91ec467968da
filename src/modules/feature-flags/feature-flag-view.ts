import { z } from 'zod'
import { pageSchema } from '../../kernel/cqrs/page.js'
import type { FeatureFlag } from './domain/feature-flag.js'

/** A feature flag as clients see it. */
export const FeatureFlagView = z.object({
  name: z.string(),
  enabled: z.boolean(),
  description: z.string().optional(),
  version: z.number().int(),
})
export type FeatureFlagView = z.output<typeof FeatureFlagView>

/** In order of name. */
export const FeatureFlagPage = pageSchema(FeatureFlagView)
export type FeatureFlagPage = z.output<typeof FeatureFlagPage>

export function viewOf({ name, enabled, description, version }: FeatureFlag): FeatureFlagView {
  return { name, enabled, ...(description !== null && { description }), version }
}
