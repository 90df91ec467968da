import { Slug, text } from '../../../kernel/domain/index.js'

export const FeatureFlagName = Slug
export const Description = text(1_000)
