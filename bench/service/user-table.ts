import 'reflect-metadata'
import pg from 'pg'
import { createDataSource } from '../../ormconfig.js'
import { migrate } from '../../src/kernel/persistence/migrate.js'

/** The service's tables, and users in them: the same for everybody who changes or reads one. */
export async function createUsers(databaseUrl: string, count: number): Promise<void> {
  const dataSource = await createDataSource({ databaseUrl }).initialize()
  try {
    await migrate(dataSource, databaseUrl)
  } finally {
    await dataSource.destroy()
  }
  const client = new pg.Client({ connectionString: databaseUrl })
  await client.connect()
  try {
    await client.query(
      `insert into user_account (id, email, name, permissions, version)
       select ('00000000-0000-4000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, 'user' || n || '@example.com',
         'User ' || n, '{users:read,users:write}', 1
       from generate_series(0, $1::integer - 1) as n`,
      [count],
    )
    await client.query('vacuum analyze user_account')
  } finally {
    await client.end()
  }
}

export function userIdOf(index: number): string {
  return `00000000-0000-4000-8000-${index.toString(16).padStart(12, '0')}`
}
