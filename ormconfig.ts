import 'reflect-metadata'
import { DataSource } from 'typeorm'
import type { EntityClass } from './src/kernel/cqrs/module.js'
import { readMigrations } from './src/kernel/persistence/read-migrations.js'
import { readSecretFiles } from './src/secret-files.js'
import { modules } from './src/service-modules.js'

const migrations = [...(await readMigrations(new URL('./migrations/', import.meta.url)))]

export interface DataSourceSettings {
  readonly databaseUrl: string
  readonly applicationName?: string
  /** The most connections. */
  readonly poolSize?: number
  /** Milliseconds after which a statement is cancelled, here and in Postgres. */
  readonly timeoutMs?: number
  /** Default: those of all modules. */
  readonly entities?: readonly EntityClass[]
}

/** Describes the database, entities and migrations for the service, for `npm run migrate` and for TypeORM's command line. */
export function createDataSource({
  databaseUrl,
  applicationName = 'aftercommit',
  poolSize = 20,
  timeoutMs = 5_000,
  entities = modules.flatMap((module) => module.entities ?? []),
}: DataSourceSettings): DataSource {
  return new DataSource({
    type: 'postgres',
    url: databaseUrl,
    applicationName,
    poolSize,
    entities: [...entities],
    migrations,
    // TypeORM's default logger would print the message of a failed migration, which may contain a row, beside the log.
    logger: 'debug',
    // Only migrations change the schema.
    synchronize: false,
    extra: {
      // So START TRANSACTION and the first load are sent together. With it, `pg` cannot stream rows.
      pipeline: true,
      connectionTimeoutMillis: Math.min(timeoutMs, 2_000),
      query_timeout: timeoutMs,
      statement_timeout: timeoutMs,
      // A node that was paused within a transaction must not keep its row locks until it is resumed.
      idle_in_transaction_session_timeout: 2 * timeoutMs,
      keepAlive: true,
    },
  })
}

/** The data source that `typeorm -d dist/ormconfig.js` uses. */
export default createDataSource({
  databaseUrl: readSecretFiles(process.env).DATABASE_URL || 'postgres://127.0.0.1:5432/aftercommit',
  // Migrations may take long.
  timeoutMs: 600_000,
})
