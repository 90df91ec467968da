import 'reflect-metadata'
import { randomUUID } from 'node:crypto'
import pg from 'pg'
import { createDataSource } from '../../ormconfig.js'
import { until } from './until.js'

export interface FreshDatabase {
  readonly url: string
  readonly name: string
  drop(): Promise<void>
}

function setting(name: string): string {
  const value = process.env[name]
  if (!value) throw new Error(`${name} is not set: run the tests with "npm test", which starts the servers`)
  return value
}

export const serverUrl = (): string => setting('AFTERCOMMIT_TEST_DATABASE_URL')
export const redisUrl = (): string => setting('AFTERCOMMIT_TEST_REDIS_URL')

/** Connects as the tests' own user, runs the work, and leaves. */
export async function withClient<Result>(
  url: string,
  work: (client: pg.Client) => Promise<Result>,
): Promise<Result> {
  const client = new pg.Client({ connectionString: url })
  // A test may end the connection on purpose; without a listener that would end the process.
  client.on('error', () => {})
  await client.connect()
  try {
    return await work(client)
  } finally {
    await client.end()
  }
}

/** A database of the suite's own. */
export async function createFreshDatabase(options: { migrated?: boolean } = {}): Promise<FreshDatabase> {
  const name = `aftercommit_test_${randomUUID().replaceAll('-', '')}`
  await withClient(serverUrl(), (client) => client.query(`create database ${name}`))
  const url = new URL(serverUrl())
  url.pathname = `/${name}`
  const database: FreshDatabase = {
    url: url.href,
    name,
    drop: async () => {
      await until('the database is dropped', () =>
        withClient(serverUrl(), async (client) => {
          // Postgres itself may be cleaning up in it, and only a superuser may end that.
          await client.query(`drop database if exists ${name} with (force)`).catch(unlessForbidden)
          const { rowCount } = await client.query('select from pg_database where datname = $1', [name])
          return rowCount === 0
        }),
      )
    },
  }
  if (options.migrated !== false) {
    const dataSource = await createDataSource({ databaseUrl: url.href, poolSize: 2 }).initialize()
    await dataSource.runMigrations({ transaction: 'each' }).finally(() => dataSource.destroy())
  }
  return database
}

function unlessForbidden(error: unknown): void {
  if ((error as { code?: unknown }).code !== '42501') throw error
}

/** Runs one statement on a connection of its own. */
export async function query<Row extends object>(
  database: FreshDatabase,
  text: string,
  values: readonly unknown[] = [],
): Promise<Row[]> {
  return withClient(database.url, async (client) => (await client.query(text, [...values])).rows as Row[])
}

/** As the restore of a backup would: takes what has a position after this one away, in the client's transaction. */
export async function setBackIn(client: pg.Client, position: number): Promise<void> {
  await client.query('delete from aftercommit_kernel.outbox_message where position > $1', [position])
  await client.query(
    `update aftercommit_kernel.journal_head set position = $1, numbering_id =
       (select numbering_id from aftercommit_kernel.outbox_message where position = $1)`,
    [position],
  )
}
