import pg from 'pg'
import { type DataSource, MigrationExecutor } from 'typeorm'
import { sqlStateOf } from './persistence-errors.js'

/** What a role or database may have set for its sessions: each would end one that waits for its turn, or holds the lock. */
const timeouts = [
  'statement_timeout',
  'lock_timeout',
  'idle_in_transaction_session_timeout',
  'transaction_timeout',
]

/**
 * Applies pending migrations, each in a transaction of its own. Nodes that start at once queue behind a lock:
 * without it two would create the same table, and one of them would fail to start. What is locked is the table that says
 * which have been applied, as that takes a grant; advisory locks are free to all who may connect.
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
    // Conflicts with itself, but not with the INSERT of what has been applied.
    await client.query(`lock table ${migrationsTableOf(dataSource)} in share update exclusive mode`)
    const applied = await dataSource.runMigrations({ transaction: 'each' })
    return applied.map(({ name }) => name)
  } finally {
    // Ending the session releases the lock.
    await client.end()
  }
}

/** By what TypeORM calls first itself. */
async function createMigrationsTable(dataSource: DataSource): Promise<void> {
  const runner = dataSource.createQueryRunner()
  try {
    await new MigrationExecutor(dataSource, runner).showMigrations()
  } catch (error) {
    // 42P07, 23505: another node has created it in this moment.
    if (!['42P07', '23505'].includes(sqlStateOf(error) ?? '')) throw error
  } finally {
    await runner.release()
  }
}

function migrationsTableOf({ options, driver }: DataSource): string {
  const path = [driver.schema, options.migrationsTableName ?? 'migrations']
  return path.flatMap((part) => (part === undefined ? [] : driver.escape(part))).join('.')
}

/** Asks in one statement, where TypeORM's own way takes a second data source and a lock: most starts find nothing to do. */
export async function hasAllMigrations(dataSource: DataSource): Promise<boolean> {
  try {
    const applied: { name: string }[] = await dataSource.query(
      `select name from ${migrationsTableOf(dataSource)}`,
    )
    const names = new Set(applied.map(({ name }) => name))
    return dataSource.migrations.every((migration) => names.has(migration.name ?? migration.constructor.name))
  } catch (error) {
    // 42P01: there is no such table, so not one has been applied.
    if (sqlStateOf(error) === '42P01') return false
    throw error
  }
}
