import { inject } from 'inversify'
import { IsNull, MoreThan } from 'typeorm'
import { z } from 'zod'
import { type QueryHandler, queryHandler } from '../../../kernel/cqrs/handlers.js'
import { query } from '../../../kernel/cqrs/message.js'
import { PageLimit, pageOf, usualPageLimit } from '../../../kernel/cqrs/page.js'
import { on } from '../../../kernel/journal/invalidation-rules.js'
import { DatabaseReader } from '../../../kernel/persistence/database-reader.js'
import { FeatureFlag } from '../domain/feature-flag.js'
import { FeatureFlagChanged, FeatureFlagCreated, FeatureFlagDeleted } from '../domain/feature-flag-events.js'
import { FeatureFlagName } from '../domain/values.js'
import { type FeatureFlagPage, viewOf } from '../feature-flag-view.js'

export class ListFeatureFlags extends query(
  z.strictObject({ limit: PageLimit, after: FeatureFlagName.optional() }),
).returning<FeatureFlagPage>() {}

@queryHandler(ListFeatureFlags, {
  // Only the first page is cached. With a key for every page, a client could create any number of entries by its choice of
  // `limit` and `after`.
  key: ({ limit, after }) => (limit === usualPageLimit && after === undefined ? 'first page' : undefined),
  keyOfAnswer: 'none',
  tags: () => ['feature-flags'],
  invalidatedBy: [
    on(FeatureFlagCreated, () => ({ tags: ['feature-flags'] })),
    on(FeatureFlagChanged, () => ({ tags: ['feature-flags'] })),
    on(FeatureFlagDeleted, () => ({ tags: ['feature-flags'] })),
  ],
})
export class ListFeatureFlagsHandler implements QueryHandler<ListFeatureFlags> {
  constructor(@inject(DatabaseReader) private readonly database: DatabaseReader) {}

  async execute({ limit, after }: ListFeatureFlags): Promise<FeatureFlagPage> {
    // One row more than asked for shows whether another page follows.
    const found = await this.database.read(FeatureFlag, (flags) =>
      flags.find({
        where: { deletedAt: IsNull(), ...(after !== undefined && { name: MoreThan(after) }) },
        order: { name: 'ASC' },
        take: limit + 1,
      }),
    )
    return pageOf(found, limit, viewOf, ({ name }) => name)
  }
}
