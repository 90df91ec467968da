import { domainEvent, z } from '../../../kernel/domain/index.js'

const name = z.string()

/** Also raised when a deleted flag is created again. */
export class FeatureFlagCreated extends domainEvent(
  'feature-flags.feature-flag-created',
  z.object({ name, enabled: z.boolean() }),
) {}

export class FeatureFlagChanged extends domainEvent(
  'feature-flags.feature-flag-changed',
  z.object({ name, enabled: z.boolean() }),
) {}

export class FeatureFlagDeleted extends domainEvent(
  'feature-flags.feature-flag-deleted',
  z.object({ name }),
) {}
