/** The modules of this service, one line each. Nothing else has to be told about a module. */
export { featureFlagsModule } from './feature-flags/feature-flags.module.js'
export { pricingModule } from './pricing/pricing.module.js'
export { usersModule } from './users/users.module.js'
