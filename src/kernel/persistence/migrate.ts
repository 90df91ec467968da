import pg from 'pg'
import type { DataSource } from 'typeorm'
import { sqlStateOf } from './persistence-errors.js'

const lockKey = 4_711_202_511

/**
 * Applies pending migrations, each in a transaction of its own. Nodes that start at once queue behind a lock:
 * without it two would create the same table, and one of them would fail to start.
 *
 * @returns the names of the migrations that this call applied
 */
export async function migrate(dataSource: DataSource, databaseUrl: string): Promise<string[]> {
  const client = new pg.Client({ connectionString: databaseUrl, application_name: 'aftercommit migrate' })
  client.on('error', () => {})
  await client.connect()
  try {
    await client.query('select pg_advisory_lock($1)', [lockKey])
    const applied = await dataSource.runMigrations({ transaction: 'each' })
    return applied.map(({ name }) => name)
  } finally {
    // Ending the session releases the lock.
    await client.end()
  }
}

/** Asks in one statement, where TypeORM's own way takes a second data source and a lock: most starts find nothing to do. */
export async function hasAllMigrations(dataSource: DataSource): Promise<boolean> {
  const { migrationsTableName = 'migrations' } = dataSource.options
  const { schema } = dataSource.driver
  const table = [schema, migrationsTableName].filter((part) => part !== undefined)
  try {
    const applied: { name: string }[] = await dataSource.query(
      `select name from ${table.map((part) => dataSource.driver.escape(part)).join('.')}`,
    )
    const names = new Set(applied.map(({ name }) => name))
    return dataSource.migrations.every((migration) => names.has(migration.name ?? migration.constructor.name))
  } catch (error) {
    // 42P01: there is no such table, so not one has been applied.
    if (sqlStateOf(error) === '42P01') return false
    throw error
  }
}
