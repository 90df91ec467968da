import { afterAll, beforeAll, beforeEach, expect, test } from '@jest/globals'
import pg from 'pg'
import { createDataSource } from '../../../ormconfig.js'
import { Consistency } from '../../../src/kernel/journal/consistency.js'
import { PostgresJournal } from '../../../src/kernel/journal/postgres-journal.js'
import { type PostgresServer, startPostgres } from '../../../tools/local-stack/postgres-server.js'
import { openReapedFolder, type ReapedFolder } from '../../../tools/local-stack/reaped-folder.js'
import { withClient } from '../../support/fresh-database.js'
import { modulesWithoutEventHandlers, rareChecks, startTestNode } from '../../support/test-node.js'
import { until } from '../../support/until.js'
import { getUser, registerUser, renameUser } from '../../support/users.js'

const insert = `insert into aftercommit_kernel.outbox_message (type, payload) values ('t.t', to_jsonb($1::text))`

let folder: ReapedFolder
let postgres: PostgresServer
let journal: PostgresJournal

beforeAll(async () => {
  folder = await openReapedFolder()
  postgres = await startPostgres(folder.path, false)
  await withClient(postgres.superuserUrl, async (client) => {
    // Long enough that what is not flushed by a COMMIT is not flushed in a test.
    await client.query(`alter system set wal_writer_delay = '10s'`)
    await client.query('select pg_reload_conf()')
  })
  const dataSource = await createDataSource({ databaseUrl: postgres.url, poolSize: 2 }).initialize()
  await dataSource.runMigrations({ transaction: 'each' }).finally(() => dataSource.destroy())
  journal = new PostgresJournal({ databaseUrl: postgres.url, applicationName: 'test', timeoutMs: 10_000 })
})
afterAll(async () => {
  await journal.close()
  await folder.close()
})
beforeEach(async () => {
  await sql('alter table aftercommit_kernel.journal_branch set unlogged')
  await superuser('drop function if exists pg_catalog.aurora_version')
})

const sql = (text: string, values: unknown[] = []) =>
  withClient(postgres.url, (client) => client.query(text, values))

const superuser = (text: string) =>
  withClient(postgres.superuserUrl.replace(/postgres$/, 'aftercommit'), (client) => client.query(text))

/** Postgres ends all its processes when one has died, and recovers; the server is not started anew. */
async function crash(): Promise<void> {
  const [doomed, bystander] = [1, 2].map(() => new pg.Client({ connectionString: postgres.url })) as [
    pg.Client,
    pg.Client,
  ]
  const ended = new Promise((resolve) => bystander.once('end', resolve))
  for (const client of [doomed, bystander]) {
    client.on('error', () => {})
    await client.connect()
  }
  const { rows } = await doomed.query<{ pid: number }>('select pg_backend_pid() as pid')
  process.kill(rows[0]!.pid, 'SIGKILL')
  // Until it ends, Postgres has not noticed yet, and lets new ones in.
  await ended
  await until('Postgres has recovered', () =>
    sql('select').then(
      () => true,
      () => false,
    ),
  )
}

/** Numbers what is committed while a writer, who came first, commits, but not yet the numbering. */
async function numberBesideAnEarlierWriter(): Promise<void> {
  await withClient(postgres.url, (early) =>
    withClient(postgres.url, async (numbering) => {
      await early.query('begin')
      await early.query(insert, ['written first'])
      await sql(insert, ['committed first'])
      await numbering.query('begin')
      await numbering.query('select aftercommit_kernel.number_outbox(10)')
      await early.query('commit')
      await numbering.query('commit')
    }),
  )
}

test('a position that a crash gives to another event is of another epoch', async () => {
  const { head, epoch } = await journal.read(0, 0)
  await numberBesideAnEarlierWriter()
  expect(await journal.read(head, 10)).toMatchObject({
    epoch,
    messages: [{ position: head + 1, payload: 'committed first' }],
  })
  await crash()
  await journal.number(10)
  const after = await journal.read(head, 10)
  expect(after.messages).toMatchObject([
    { position: head + 1, payload: 'written first' },
    { position: head + 2, payload: 'committed first' },
  ])
  expect(after.epoch).not.toBe(epoch)
})

test('after a crash reading begins the epoch as well as numbering, and all find the same one', async () => {
  const { head, epoch } = await journal.read(0, 0)
  await sql(insert, ['a'])
  await journal.number(10)
  await crash()
  const pages = await Promise.all(Array.from({ length: 5 }, () => journal.read(head, 10)))
  const { epoch: begun } = await journal.number(10)
  expect(begun).toMatch(/^[0-9a-f]{16}$/)
  expect(begun).not.toBe(epoch)
  expect(new Set(pages.map((page) => page.epoch))).toEqual(new Set([begun]))
})

test.each([
  ['the table is logged', 'alter table aftercommit_kernel.journal_branch set logged'],
  ['the server is Aurora', `create function pg_catalog.aurora_version() returns text return '17.4.0'`],
])('where a crash would not end their epoch, as %s, positions are flushed', async (_, asIs) => {
  await superuser(asIs)
  const { head } = await journal.read(0, 0)
  await numberBesideAnEarlierWriter()
  await crash()
  await journal.number(10)
  expect((await journal.read(head, 10)).messages).toMatchObject([
    { position: head + 1, payload: 'committed first' },
    { position: head + 2, payload: 'written first' },
  ])
})

test('nodes that live through a crash start with empty caches, and lose no write', async () => {
  // The claims of event handlers would flush the positions.
  const offered = modulesWithoutEventHandlers
  const database = { url: postgres.url, name: 'aftercommit', drop: async () => {} }
  const nodes = [
    await startTestNode(database, { env: rareChecks, offered }),
    await startTestNode(database, { env: rareChecks, offered }),
  ] as const
  try {
    const [writer, reader] = nodes
    const { id } = await registerUser(writer, 'Ada')
    const write = new Consistency(writer.parts.check, writer.parts.applied)
    await renameUser(writer, id, 'Grace', write)
    const asAfterTheWrite = () => new Consistency(reader.parts.check, reader.parts.applied, write.token)
    expect(write.token?.position).toEqual(expect.any(Number))
    expect((await getUser(reader, id, asAfterTheWrite()))?.name).toBe('Grace')
    await crash()
    // Past the service: neither memory nor Redis may answer any more.
    await sql(`update user_account set name = 'Hopper' where id = $1`, [id])
    for (const { parts } of nodes) {
      await until('the node reaches Postgres', () =>
        parts.check.run().then(
          () => true,
          () => false,
        ),
      )
      expect(parts.applied.epoch).not.toBe(write.token?.epoch)
    }
    expect((await getUser(reader, id, asAfterTheWrite()))?.name).toBe('Hopper')
    await renameUser(writer, id, 'Lovelace')
    await until('a hint has reached the reader', async () => (await getUser(reader, id))?.name === 'Lovelace')
    expect(writer.parts.applied.epoch).toBe(reader.parts.applied.epoch)
  } finally {
    for (const node of nodes) await node.stop()
  }
})
