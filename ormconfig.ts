import 'reflect-metadata'
import { DataSource } from 'typeorm'
import { Kernel1700000000000 } from './migrations/1700000000000-kernel.js'
import { Users1700000001000 } from './migrations/1700000001000-users.js'
import { FeatureFlags1700000002000 } from './migrations/1700000002000-feature-flags.js'
import { Pricing1700000003000 } from './migrations/1700000003000-pricing.js'
import { FeatureFlag } from './src/modules/feature-flags/domain/feature-flag.js'
import { Product } from './src/modules/pricing/domain/product.js'
import { User } from './src/modules/users/domain/user.js'
import { WelcomeMessage } from './src/modules/users/domain/welcome-message.js'
import { readSecretFiles } from './src/secret-files.js'

export interface DataSourceSettings {
  readonly databaseUrl: string
  readonly applicationName?: string
  /** Connections. */
  readonly poolSize?: number
  /** Milliseconds after which a statement is given up, here and in Postgres. */
  readonly timeoutMs?: number
}

/** The one description of database, entities and migrations: for the service, its migrations and TypeORM's command line. */
export function createDataSource({
  databaseUrl,
  applicationName = 'aftercommit',
  poolSize = 20,
  timeoutMs = 5_000,
}: DataSourceSettings): DataSource {
  return new DataSource({
    type: 'postgres',
    url: databaseUrl,
    applicationName,
    poolSize,
    entities: [User, WelcomeMessage, FeatureFlag, Product],
    migrations: [Kernel1700000000000, Users1700000001000, FeatureFlags1700000002000, Pricing1700000003000],
    // Its own would print a failed migration's message, which may hold a row, beside the log.
    logger: 'debug',
    // The migrations are the schema's only author.
    synchronize: false,
    extra: {
      // START TRANSACTION and the first load go out together. It does without streams of rows: `pg` refuses them.
      pipeline: true,
      connectionTimeoutMillis: Math.min(timeoutMs, 2_000),
      query_timeout: timeoutMs,
      statement_timeout: timeoutMs,
      // A node that was paused in a transaction must not hold its row locks until it is resumed.
      idle_in_transaction_session_timeout: 2 * timeoutMs,
      keepAlive: true,
    },
  })
}

/** What `typeorm -d dist/ormconfig.js` finds. */
export default createDataSource({
  databaseUrl: readSecretFiles(process.env).DATABASE_URL || 'postgres://127.0.0.1:5432/aftercommit',
  // Migrations may take their time.
  timeoutMs: 600_000,
})
