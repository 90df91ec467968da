import { afterAll, beforeAll, expect, test } from '@jest/globals'
import type { DataSource } from 'typeorm'
import { createDataSource } from '../../../ormconfig.js'
import { migrate } from '../../../src/kernel/persistence/migrate.js'
import { createFreshDatabase, type FreshDatabase, query } from '../../support/fresh-database.js'

let database: FreshDatabase
let dataSource: DataSource

beforeAll(async () => {
  database = await createFreshDatabase({ migrated: false })
  dataSource = await createDataSource({ databaseUrl: database.url, poolSize: 3 }).initialize()
})
afterAll(async () => {
  await dataSource.destroy()
  await database.drop()
})

const tables = () =>
  query<{ name: string }>(
    database,
    `select table_schema || '.' || table_name as name from information_schema.tables
     where table_schema in ('public', 'aftercommit_kernel') and table_name <> 'migrations' order by 1`,
  )

test('nodes that start at once apply each migration once', async () => {
  const second = await createDataSource({ databaseUrl: database.url, poolSize: 3 }).initialize()
  try {
    const applied = await Promise.all([migrate(dataSource, database.url), migrate(second, database.url)])
    expect(applied.flat()).toEqual(dataSource.migrations.map(({ name }) => name))
    expect(await migrate(second, database.url)).toEqual([])
  } finally {
    await second.destroy()
  }
})

test('the entities are what the migrations have made: TypeORM would change nothing', async () => {
  const { upQueries } = await dataSource.driver.createSchemaBuilder().log()
  expect(upQueries.map((each) => each.query)).toEqual([])
})

test('every migration can be undone and applied again, with the same result', async () => {
  const before = await tables()
  expect(before.length).toBeGreaterThan(5)
  for (const _ of dataSource.migrations) await dataSource.undoLastMigration({ transaction: 'each' })
  expect(await tables()).toEqual([])
  await migrate(dataSource, database.url)
  expect(await tables()).toEqual(before)
})

test('each installation has a namespace and a secret of its own', async () => {
  const [row] = await query<{ namespace: string; secret: Buffer }>(
    database,
    'select namespace, secret from aftercommit_kernel.installation',
  )
  expect(row?.namespace).toMatch(/^[0-9a-f-]{36}$/)
  expect(row?.secret).toHaveLength(32)
  await expect(
    query(database, 'insert into aftercommit_kernel.installation (only_row) values (true)'),
  ).rejects.toThrow('installation_pkey')
})
