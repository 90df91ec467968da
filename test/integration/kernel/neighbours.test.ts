import { randomBytes } from 'node:crypto'
import { appendFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals'
import pg from 'pg'
import { createDataSource } from '../../../ormconfig.js'
import { migrate } from '../../../src/kernel/persistence/migrate.js'
import type { Node } from '../../../src/node.js'
import { findPostgresPrograms } from '../../../tools/local-stack/embedded-postgres.js'
import { onFreePort } from '../../../tools/local-stack/free-port.js'
import { initialisePostgres, launchPostgres } from '../../../tools/local-stack/postgres-server.js'
import { openReapedFolder, type ReapedFolder } from '../../../tools/local-stack/reaped-folder.js'
import { type FreshDatabase, withClient } from '../../support/fresh-database.js'
import { startTestNode } from '../../support/test-node.js'
import { until } from '../../support/until.js'
import { getUser, registerUser, renameUser } from '../../support/users.js'

/** What the numbering and the migrations once locked, and what a neighbour may guess. */
const advisoryLocks = [
  `hashtextextended('aftercommit_kernel.number_outbox', 0)`,
  '4711202511',
  `to_regnamespace('aftercommit_kernel')::oid::bigint`,
  ...['numbering_lock', 'journal_head', 'outbox_message'].map(
    (table) =>
      `(select c.oid::bigint from pg_class c join pg_namespace n on n.oid = relnamespace
        where nspname = 'aftercommit_kernel' and relname = '${table}')`,
  ),
]
const lockModes = [
  'access share',
  'row share',
  'row exclusive',
  'share update exclusive',
  'share',
  'share row exclusive',
  'exclusive',
  'access exclusive',
]

let folder: ReapedFolder
let superuserUrl: string
let database: FreshDatabase
let neighbourUrl: string
let open: pg.Client[]

beforeAll(async () => {
  folder = await openReapedFolder()
  const programs = await findPostgresPrograms(folder.path)
  const password = randomBytes(16).toString('hex')
  const data = await initialisePostgres(programs, folder.path, password)
  // The least: a neighbour fills it in a moment, where he would need a while for 8 GB.
  await appendFile(join(data, 'postgresql.conf'), '\nmax_notify_queue_pages = 64\n')
  const { port } = await onFreePort((free) => launchPostgres(programs, data, free, false))
  const urlOf = (user: string, name: string) => `postgres://${user}:${password}@127.0.0.1:${port}/${name}`
  superuserUrl = urlOf('superuser', 'service')
  await withClient(urlOf('superuser', 'postgres'), async (client) => {
    await client.query(`create role service login password '${password}'`)
    await client.query(`create role neighbour login password '${password}'`)
    await client.query('create database service owner service template template0')
  })
  database = { url: urlOf('service', 'service'), name: 'service', drop: async () => {} }
  neighbourUrl = urlOf('neighbour', 'service')
})
afterAll(() => folder.close())

beforeEach(() => {
  open = []
})
afterEach(async () => {
  for (const client of open) await client.end()
})

/** A session of a role that has been granted nothing, and has CONNECT like everybody; it stays until the test is over. */
async function neighbour(): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: neighbourUrl })
  client.on('error', () => {})
  await client.connect()
  open.push(client)
  return client
}

async function holdAdvisoryLocks(): Promise<void> {
  const client = await neighbour()
  for (const key of advisoryLocks) await client.query(`select pg_advisory_lock(${key})`)
}

test('a neighbour’s advisory locks do not keep the migrations waiting', async () => {
  await holdAdvisoryLocks()
  const dataSource = await createDataSource({ databaseUrl: database.url, poolSize: 2 }).initialize()
  try {
    expect(await migrate(dataSource, database.url)).toHaveLength(dataSource.migrations.length)
  } finally {
    await dataSource.destroy()
  }
})

describe.each([
  ['with Redis', true],
  ['without Redis', false],
])('beside a role that may only connect, nodes %s', (_, redis) => {
  let writer: Node
  let reader: Node
  beforeAll(async () => {
    writer = await startTestNode(database, { redis })
    reader = await startTestNode(database, { redis })
  })
  afterAll(async () => {
    await writer.stop()
    await reader.stop()
  })

  /** What a user notices: writes are numbered, seen by the other node from its cache, and both stay in step. */
  async function nodesGoOn(): Promise<void> {
    const { id } = await registerUser(writer)
    for (const name of ['Grace', 'Edsger', 'Barbara']) {
      await getUser(reader, id)
      await renameUser(writer, id, name)
      await until('the other node shows it', async () => (await getUser(reader, id))?.name === name)
    }
    for (const node of [writer, reader]) {
      await node.parts.check.run()
      expect(node.report().status).toBe('ready')
    }
    await withClient(superuserUrl, async (client) => {
      const { rowCount } = await client.query(
        'select from aftercommit_kernel.outbox_message where position is null',
      )
      expect(rowCount).toBe(0)
    })
  }

  test('number and answer while he holds every advisory lock that he can think of', async () => {
    await holdAdvisoryLocks()
    await nodesGoOn()
  })

  test('keep every table, row, function and schema to themselves, whatever he tries to lock', async () => {
    const client = await neighbour()
    const objects = await withClient(superuserUrl, async (superuser) => {
      const relations = await superuser.query<{ name: string }>(
        `select format('%I.%I', n.nspname, relname) as name from pg_class c join pg_namespace n on n.oid = relnamespace
         where nspname in ('public', 'aftercommit_kernel') and relkind in ('r', 'p', 'v', 'm')`,
      )
      const functions = await superuser.query<{ call: string }>(
        `select format('%I.%I(%s)', n.nspname, proname, array_to_string(array_fill('null'::text, array[pronargs]), ', ')) as call
         from pg_proc p join pg_namespace n on n.oid = pronamespace
         where nspname in ('public', 'aftercommit_kernel') and prorettype <> 'trigger'::regtype`,
      )
      return { tables: relations.rows.map(({ name }) => name), calls: functions.rows.map(({ call }) => call) }
    })
    expect(objects.tables.length).toBeGreaterThan(8)
    expect(objects.calls.length).toBeGreaterThan(4)
    const attempts = [
      ...objects.tables.flatMap((table) => [
        ...lockModes.map((mode) => `lock table ${table} in ${mode} mode`),
        `select from ${table} for key share`,
        `comment on table ${table} is null`,
        `create temporary table mine (like ${table})`,
      ]),
      ...objects.calls.map((call) => `select ${call}`),
      'create table public.mine ()',
      'create function public.mine() returns void language sql as $$ $$',
      'create schema mine',
      'alter database service set default_transaction_isolation = serializable',
    ]
    for (const attempt of attempts) {
      await client.query('begin')
      const refusal = await client.query(attempt).then(
        () => 'not refused',
        ({ code }: pg.DatabaseError) => code,
      )
      // 42501: insufficient privilege.
      expect([attempt, refusal]).toEqual([attempt, '42501'])
      await client.query('rollback')
    }
    await nodesGoOn()
  })

  test('are not told anything by him, who does not know the channel of their hints', async () => {
    const client = await neighbour()
    const heard: unknown[] = []
    client.on('notification', (notification) => heard.push(notification))
    await client.query('listen aftercommit_hints')
    const { rejected, received } = reader.parts.subscriber.statistics
    const { epoch } = reader.parts.applied
    await client.query(
      `select pg_notify(channel, payload) from generate_series(1, 200),
         unnest(array['aftercommit_hints', 'aftercommit']) channel, unnest(array['garbage', $1]) payload`,
      [`${epoch} 999999999`],
    )
    await until('he hears himself', () => heard.length > 0)
    heard.length = 0
    await nodesGoOn()
    expect(heard).toEqual([])
    expect(reader.parts.subscriber.statistics.rejected).toBe(rejected)
    // What it was told since stems from the writes, and no hint of his sent it to Postgres.
    expect(reader.parts.subscriber.statistics.received - received).toBeLessThan(50)
  })

  test('write and number when he has filled the queue of notifications', async () => {
    const listener = await neighbour()
    await listener.query('listen anything')
    await listener.query('begin')
    const flooder = await neighbour()
    const full = flooder.query(
      `do $$ begin for i in 1 .. 10000 loop perform pg_notify('anything', i || repeat('x', 7000)); commit; end loop; end $$`,
    )
    await expect(full).rejects.toThrow('too many notifications')
    await nodesGoOn()
    await listener.query('rollback')
  })
})

test('a function that somebody has put into their search path is not called', async () => {
  await withClient(superuserUrl, (client) => client.query('grant create on schema public to neighbour'))
  // Of the very types that `current_epoch` calls Postgres's own with, which takes any.
  await (await neighbour()).query(
    `create function public.concat_ws(text, bigint, text, numeric, uuid, oid, oid, uuid) returns text
     language plpgsql as $$ begin raise exception 'called'; end $$`,
  )
  try {
    const node = await startTestNode(database)
    const { id } = await registerUser(node)
    const { epoch } = node.parts.applied
    expect(await node.parts.journal.beginEpoch('another')).toBe(epoch)
    expect((await getUser(node, id))?.name).toBe('Ada')
    await node.stop()
  } finally {
    await withClient(superuserUrl, (client) => client.query('drop owned by neighbour'))
  }
})
