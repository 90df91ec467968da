import type { ServiceModule } from '../../kernel/cqrs/module.js'
import { DeleteFeatureFlagHandler } from './commands/delete-feature-flag.js'
import { PutFeatureFlagHandler } from './commands/put-feature-flag.js'
import { FeatureFlag } from './domain/feature-flag.js'
import * as featureFlagEvents from './domain/feature-flag-events.js'
import { featureFlagRoutes } from './http/feature-flag-routes.js'
import { GetFeatureFlagHandler } from './queries/get-feature-flag.js'
import { ListFeatureFlagsHandler } from './queries/list-feature-flags.js'

export const featureFlagsModule: ServiceModule = {
  name: 'feature-flags',
  entities: [FeatureFlag],
  events: featureFlagEvents,
  handlers: [PutFeatureFlagHandler, DeleteFeatureFlagHandler, GetFeatureFlagHandler, ListFeatureFlagsHandler],
  routes: featureFlagRoutes,
}
