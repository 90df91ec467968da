import pg from 'pg'
import { type DataSource, MigrationExecutor } from 'typeorm'
import { sqlStateOf } from './persistence-errors.js'

/** Timeouts that may be set for the role or the database. Each could end the session while it waits for the lock or has it. */
const timeouts = [
  'statement_timeout',
  'lock_timeout',
  'idle_in_transaction_session_timeout',
  'transaction_timeout',
]

/**
 * Applies pending migrations, each in its own transaction. Nodes that start at the same time wait for a lock. Without it, two
 * could create the same table, and one of them would fail to start. It locks the table of applied migrations, which needs a
 * grant. Any role that can connect could take an advisory lock.
 *
 * @returns the names of the migrations that this call applied
 */
export async function migrate(dataSource: DataSource, databaseUrl: string): Promise<string[]> {
  const client = new pg.Client({ connectionString: databaseUrl, application_name: 'aftercommit migrate' })
  client.on('error', () => {})
  await client.connect()
  try {
    await createMigrationsTable(dataSource)
    await client.query('select set_config(name, $1, false) from pg_settings where name = any($2)', [
      '0',
      timeouts,
    ])
    await client.query('begin')
    // This mode conflicts with itself, but not with the INSERT of an applied migration.
    await client.query(`lock table ${migrationsTableOf(dataSource)} in share update exclusive mode`)
    const applied = await dataSource.runMigrations({ transaction: 'each' })
    return applied.map(({ name }) => name)
  } finally {
    // Ending the session releases the lock.
    await client.end()
  }
}

/** `showMigrations` creates the table before all else. TypeORM's own method for that is not public. */
async function createMigrationsTable(dataSource: DataSource): Promise<void> {
  const runner = dataSource.createQueryRunner()
  try {
    await new MigrationExecutor(dataSource, runner).showMigrations()
  } catch (error) {
    // 42P07, 23505: another node created it at the same moment.
    if (!['42P07', '23505'].includes(sqlStateOf(error) ?? '')) throw error
  } finally {
    await runner.release()
  }
}

function migrationsTableOf({ options, driver }: DataSource): string {
  const path = [driver.schema, options.migrationsTableName ?? 'migrations']
  return path.flatMap((part) => (part === undefined ? [] : driver.escape(part))).join('.')
}

/** Takes one statement. Most starts find that nothing is pending, and then need neither a second data source nor a lock. */
export async function hasAllMigrations(dataSource: DataSource): Promise<boolean> {
  try {
    const applied: { name: string }[] = await dataSource.query(
      `select name from ${migrationsTableOf(dataSource)}`,
    )
    const names = new Set(applied.map(({ name }) => name))
    return dataSource.migrations.every((migration) => names.has(migration.name ?? migration.constructor.name))
  } catch (error) {
    // 42P01: the table does not exist, so no migration has been applied.
    if (sqlStateOf(error) === '42P01') return false
    throw error
  }
}
