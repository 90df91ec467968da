import pg from 'pg'
import type { DataSource } from 'typeorm'

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
