import { inject } from 'inversify'
import { IsNull } from 'typeorm'
import { z } from 'zod'
import { type QueryHandler, queryHandler } from '../../../kernel/cqrs/handlers.js'
import { query } from '../../../kernel/cqrs/message.js'
import { on } from '../../../kernel/journal/invalidation-rules.js'
import { DatabaseReader } from '../../../kernel/persistence/database-reader.js'
import { FeatureFlag } from '../domain/feature-flag.js'
import { FeatureFlagChanged, FeatureFlagCreated, FeatureFlagDeleted } from '../domain/feature-flag-events.js'
import { FeatureFlagName } from '../domain/values.js'
import { type FeatureFlagView, viewOf } from '../feature-flag-view.js'

export class GetFeatureFlag extends query(
  z.strictObject({ name: FeatureFlagName }),
).returning<FeatureFlagView | null>() {}

@queryHandler(GetFeatureFlag, {
  key: ({ name }) => name,
  keyOfAnswer: ({ name }) => name,
  // If a flag cannot be loaded, an old one that is marked as stale is better than no answer.
  failSafe: true,
  failSafeMaxDurationMs: 3_600_000,
  softTimeoutMs: 1_000,
  createdBy: [on(FeatureFlagCreated, ({ name }) => ({ keys: [name] }))],
  invalidatedBy: [
    on(FeatureFlagChanged, ({ name }) => ({ keys: [name] })),
    on(FeatureFlagDeleted, ({ name }) => ({ keys: [name] })),
  ],
})
export class GetFeatureFlagHandler implements QueryHandler<GetFeatureFlag> {
  constructor(@inject(DatabaseReader) private readonly database: DatabaseReader) {}

  async execute({ name }: GetFeatureFlag): Promise<FeatureFlagView | null> {
    const flag = await this.database.read(FeatureFlag, (flags) =>
      flags.findOneBy({ name, deletedAt: IsNull() }),
    )
    return flag && viewOf(flag)
  }
}
