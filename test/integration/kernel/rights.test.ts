import { readFileSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import pg from 'pg'
import { createDataSource } from '../../../ormconfig.js'
import { readConfig } from '../../../src/config.js'
import { createParts } from '../../../src/container.js'
import { hasAllMigrations, migrate } from '../../../src/kernel/persistence/migrate.js'
import { MissingRightsError } from '../../../src/kernel/persistence/rights.js'
import { ChangeUser } from '../../../src/modules/users/commands/change-user.js'
import { DeleteUser } from '../../../src/modules/users/commands/delete-user.js'
import { RegisterUser } from '../../../src/modules/users/commands/register-user.js'
import { GetUser } from '../../../src/modules/users/queries/get-user.js'
import { Node } from '../../../src/node.js'
import { startPostgres } from '../../../tools/local-stack/postgres-server.js'
import { openReapedFolder, type ReapedFolder } from '../../../tools/local-stack/reaped-folder.js'
import { codeBlocksOf } from '../../support/code-blocks.js'
import { type FreshDatabase, withClient } from '../../support/fresh-database.js'
import { silentLogger } from '../../support/silent-logger.js'
import { startTestNode } from '../../support/test-node.js'
import { until } from '../../support/until.js'
import { freshEmail, getUser, registerUser, renameUser } from '../../support/users.js'

let folder: ReapedFolder
let superuserUrl: string
/** Of the role that owns the database and runs the migrations, and of the one that nodes run as. */
let ownerUrl: string
let service: FreshDatabase

beforeAll(async () => {
  folder = await openReapedFolder()
  const server = await startPostgres(folder.path, false)
  ownerUrl = server.url
  superuserUrl = server.superuserUrl.replace(/postgres$/, 'aftercommit')
  await asSuperuser(`create role service login password 'of-the-service'`)
  const url = new URL(server.url)
  url.username = 'service'
  url.password = 'of-the-service'
  service = { url: url.href, name: 'aftercommit', drop: async () => {} }
  await migrateAsOwner()
  await grantAll()
})
afterAll(() => folder.close())

const asSuperuser = <Row extends pg.QueryResultRow>(text: string) =>
  withClient(superuserUrl, (client) => client.query<Row>(text))

async function migrateAsOwner(): Promise<void> {
  const dataSource = await createDataSource({ databaseUrl: ownerUrl, poolSize: 2 }).initialize()
  await migrate(dataSource, ownerUrl).finally(() => dataSource.destroy())
}

/** As `psql -v role=service -v database=aftercommit -f deploy/grants.sql` does. */
async function grantAll(): Promise<void> {
  const variables: Record<string, string> = { role: 'service', database: 'aftercommit' }
  const text = readFileSync('deploy/grants.sql', 'utf8').replaceAll(/:"(\w+)"/g, (_, name: string) =>
    pg.escapeIdentifier(variables[name] as string),
  )
  await withClient(ownerUrl, (client) => client.query(text))
}

describe.each([
  ['with Redis', true],
  ['without Redis', false],
])('a node %s, with the rights of deploy/grants.sql and RUN_MIGRATIONS=false', (_, redis) => {
  test('starts, writes, reads, numbers, hints, handles events, and deletes what is old', async () => {
    const env = { OUTBOX_RETENTION_HOURS: '1' }
    const writer = await startTestNode(service, { redis, env })
    const reader = await startTestNode(service, { redis, env })
    try {
      const { id } = await registerUser(writer)
      await getUser(reader, id)
      await renameUser(writer, id, 'Grace')
      await until('the other node shows it', async () => (await getUser(reader, id))?.name === 'Grace')
      await until('its event was handled', async () => {
        const { rowCount } = await asSuperuser(`select from welcome_message where user_id = '${id}'`)
        return rowCount === 1
      })
      await until('every event was handled', async () => {
        const { rowCount } = await asSuperuser(
          `select from aftercommit_kernel.event_delivery where state <> 'done'`,
        )
        return rowCount === 0
      })
      await asSuperuser(
        `update aftercommit_kernel.outbox_message set numbered_at = numbered_at - interval '2 hours'`,
      )
      expect(await writer.parts.retention.deleteBatch()).toBeGreaterThan(0)
      await writer.parts.commandBus.execute(new DeleteUser({ userId: id }))
      await until('it is gone', async () => (await getUser(reader, id)) === null)
    } finally {
      await writer.stop()
      await reader.stop()
    }
  })
})

async function failureOfStart(databaseUrl: string): Promise<unknown> {
  const config = readConfig({ DATABASE_URL: databaseUrl, RUN_MIGRATIONS: 'false', PORT: '0' })
  const node = new Node(config, silentLogger)
  try {
    return await node.start().catch((error: unknown) => error)
  } finally {
    await node.stop()
  }
}

/** All that a node does in Postgres, on connections of its own, without the check at its start. */
async function work(): Promise<void> {
  const config = readConfig({ DATABASE_URL: service.url, RUN_MIGRATIONS: 'false' })
  const {
    dataSource,
    journal,
    installation,
    deliveries,
    check,
    commandBus,
    queryBus,
    unitOfWork,
    retention,
  } = createParts(config, silentLogger)
  try {
    await dataSource.initialize()
    if (!(await hasAllMigrations(dataSource)))
      throw new Error('permission denied: the table of migrations is not found')
    installation.learn(await journal.installation())
    await deliveries.register([handler])
    await check.run()
    const { id } = await commandBus.execute(new RegisterUser({ email: freshEmail(), name: 'Ada' }))
    await queryBus.execute(new GetUser({ userId: id }))
    await commandBus.execute(new ChangeUser({ userId: id, name: 'Grace' }))
    await commandBus.execute(new DeleteUser({ userId: id }))
    await asSuperuser(
      `insert into aftercommit_kernel.outbox_message (type, payload) values ('users.user-registered', '{}')`,
    )
    await asSuperuser('delete from aftercommit_kernel.journal_branch')
    await journal.number(10)
    await journal.beginEpoch((await journal.read(0, 10)).epoch)
    const { deliveries: claimed } = await deliveries.claimNext(
      handler,
      'users.user-registered',
      10,
      10_000,
      0,
    )
    expect(claimed.length).toBeGreaterThan(0)
    await unitOfWork.runEach(
      claimed,
      async () => {},
      async (manager) => void (await deliveries.complete(manager, claimed)),
    )
    await asSuperuser(
      `update aftercommit_kernel.outbox_message set numbered_at = numbered_at - interval '2000 hours'`,
    )
    await retention.deleteBatch()
  } finally {
    await journal.close()
    if (dataSource.isInitialized) await dataSource.destroy()
    await asSuperuser(`delete from aftercommit_kernel.event_handler where name = '${handler}'`)
  }
}
const handler = 'test.rights'

/** One by one what the role has been granted, as in `GRANT … ON …`, but for the tables of the modules that `work` does not use. */
async function granted(): Promise<string[]> {
  const { rows } = await asSuperuser<{ granted: string }>(
    `with acl (name, acl, prefix) as (
       select format('schema %I', nspname), nspacl, '' from pg_namespace
       union all
       select format('table %I.%I', nspname, relname), relacl, '' from pg_class c join pg_namespace n on n.oid = relnamespace
       where nspname = 'aftercommit_kernel' or relname in ('user_account', 'migrations')
       union all
       select format('table %I.%I', nspname, relname), attacl, format(' (%I)', attname)
       from pg_attribute a join pg_class c on c.oid = attrelid join pg_namespace n on n.oid = relnamespace
       where nspname = 'aftercommit_kernel'
       union all
       select format('function %s', p.oid::regprocedure), proacl, ''
       from pg_proc p join pg_namespace n on n.oid = pronamespace where nspname = 'aftercommit_kernel'
     )
     select e.privilege_type || prefix || ' on ' || name as granted
     from acl, aclexplode(acl) e where e.grantee = 'service'::regrole order by 1`,
  )
  // Only a trigger's owner needs to be allowed to call its function.
  return rows.map((row) => row.granted).filter((name) => !name.includes('refuse_asynchronous_commit'))
}

describe('the rights of deploy/grants.sql', () => {
  test('are the least: without any one of them a node cannot do its work, and does not start but names it', async () => {
    await work()
    // Else everybody has it.
    await asSuperuser('revoke usage on schema public from public')
    const rights = await granted()
    expect(rights.length).toBeGreaterThan(30)
    for (const right of rights) {
      await asSuperuser(`revoke ${right} from service`)
      try {
        const failure = await work().then(
          () => 'it works without',
          (error) => String(error),
        )
        // The last is what TypeORM has to say.
        expect([right, failure]).toEqual([
          right,
          expect.stringMatching(/permission denied|Cannot read properties of null/),
        ])
        const isWriteOfModule = /^(INSERT|UPDATE|DELETE) on table public/.test(right)
        if (!isWriteOfModule) expect(await failureOfStart(service.url)).toBeInstanceOf(MissingRightsError)
      } finally {
        await asSuperuser(`grant ${right} to service`)
      }
    }
    await work()
  }, 180_000)

  test('do not let the role change who the installation is, the migrations, or any schema', async () => {
    const refused = [
      'update aftercommit_kernel.installation set secret = default',
      'delete from aftercommit_kernel.journal_head',
      'insert into aftercommit_kernel.outbox_message (type, payload, position) values (null, null, 1)',
      'lock table migrations in share update exclusive mode',
      'delete from migrations',
      'create table public.mine ()',
      'create table aftercommit_kernel.mine ()',
      'create schema mine',
      'create temporary table mine ()',
      'drop table user_account',
      'alter table user_account add column mine text',
    ]
    await withClient(service.url, async (client) => {
      for (const statement of refused) {
        await client.query('begin')
        const code = await client.query(statement).then(
          () => 'not refused',
          (error: pg.DatabaseError) => error.code,
        )
        await client.query('rollback')
        expect([statement, code]).toEqual([statement, '42501'])
      }
    })
  })

  test('keep every other role out of the database', async () => {
    await asSuperuser(`create role stranger login password 'of-a-stranger'`)
    const url = new URL(service.url)
    url.username = 'stranger'
    url.password = 'of-a-stranger'
    await expect(withClient(url.href, async () => {})).rejects.toThrow('permission denied for database')
  })

  test('cover the tables of migrations to come', async () => {
    await withClient(ownerUrl, (client) =>
      client.query('create table later (id bigint generated always as identity)'),
    )
    await withClient(service.url, async (client) => {
      await client.query('insert into later default values')
      await client.query('delete from later')
    })
  })

  test('can be granted again', async () => {
    const before = await granted()
    await grantAll()
    expect(await granted()).toEqual(before)
  })
})

describe('a role that lacks rights', () => {
  test('is told of a missing right as docs/rights.md shows it', async () => {
    const shown = codeBlocksOf('docs/rights.md').find(({ code: [line] }) => line?.startsWith('The role'))
    await asSuperuser('revoke update on aftercommit_kernel.numbering_lock from service')
    try {
      expect(await failureOfStart(service.url)).toHaveProperty('message', shown?.code.join('\n'))
    } finally {
      await grantAll()
    }
  })

  test('is told by the start in one line of all that is missing', async () => {
    await asSuperuser(`create role poor login password 'of-the-poor'`)
    await asSuperuser('grant connect on database aftercommit to poor')
    const url = new URL(service.url)
    url.username = 'poor'
    url.password = 'of-the-poor'
    const failure = await failureOfStart(url.href)
    expect(failure).toBeInstanceOf(MissingRightsError)
    const { message } = failure as Error
    expect(message).not.toContain('\n')
    for (const part of [
      'The role poor lacks rights in Postgres',
      'USAGE on schema aftercommit_kernel',
      'SELECT on aftercommit_kernel.installation',
      'UPDATE (position, numbering_id, numbered_at) on aftercommit_kernel.outbox_message',
      'SELECT on public.user_account',
      'SELECT on public.migrations',
      'EXECUTE on function aftercommit_kernel.number_outbox',
    ])
      expect(message).toContain(part)
    expect(message).not.toContain('product.DELETE')
  })

  test('to write a module’s table starts all the same: no command may ever write it', async () => {
    await asSuperuser('revoke delete on product from service')
    const node = await startTestNode(service)
    await node.stop()
    await grantAll()
  })
})
