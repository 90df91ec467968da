import type { ServiceModule } from '../../kernel/cqrs/module.js'
import { DeleteFeatureFlag, DeleteFeatureFlagHandler } from './commands/delete-feature-flag.js'
import { PutFeatureFlag, PutFeatureFlagHandler } from './commands/put-feature-flag.js'
import { FeatureFlagChanged, FeatureFlagCreated, FeatureFlagDeleted } from './domain/feature-flag-events.js'
import { featureFlagRoutes } from './http/feature-flag-routes.js'
import { GetFeatureFlag, GetFeatureFlagHandler } from './queries/get-feature-flag.js'
import { ListFeatureFlags, ListFeatureFlagsHandler } from './queries/list-feature-flags.js'

export const featureFlagsModule: ServiceModule = {
  name: 'feature-flags',
  commands: [PutFeatureFlag, DeleteFeatureFlag],
  queries: [GetFeatureFlag, ListFeatureFlags],
  events: [FeatureFlagCreated, FeatureFlagChanged, FeatureFlagDeleted],
  handlers: [PutFeatureFlagHandler, DeleteFeatureFlagHandler, GetFeatureFlagHandler, ListFeatureFlagsHandler],
  routes: featureFlagRoutes,
}
