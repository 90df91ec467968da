import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { Consistency } from '../../../src/kernel/journal/consistency.js'
import { GetUser } from '../../../src/modules/users/queries/get-user.js'
import type { Node } from '../../../src/node.js'
import {
  createFreshDatabase,
  type FreshDatabase,
  query,
  serverUrl,
  withClient,
} from '../../support/fresh-database.js'
import { rareChecks, startTestNode } from '../../support/test-node.js'
import { until } from '../../support/until.js'
import { getUser, registerUser, renameUser } from '../../support/users.js'

let original: FreshDatabase
let copy: FreshDatabase
let nodes: Node[] = []
let userId: string

/** Both databases hold the user; the original's node has put it into L2. */
beforeAll(async () => {
  original = await createFreshDatabase()
  const before = await startTestNode(original, { env: rareChecks })
  userId = (await registerUser(before, 'Ada')).id
  await before.parts.check.run()
  await before.stop()
  copy = await copyOf(original)
  nodes = [await startTestNode(original, { env: rareChecks }), await startTestNode(copy, { env: rareChecks })]
  for (const { parts } of nodes) await until('Redis is connected', () => parts.redis?.status === 'ready')
})
afterAll(async () => {
  for (const node of nodes) await node.stop()
  await copy?.drop()
  await original.drop()
})

async function copyOf(database: FreshDatabase): Promise<FreshDatabase> {
  const name = `aftercommit_test_${randomUUID().replaceAll('-', '')}`
  // Connections that have just been closed may take a moment to be gone, and a template must have none.
  await until('the template is not in use', () =>
    withClient(serverUrl(), async (client) => {
      const { rows } = await client.query('select from pg_stat_activity where datname = $1', [database.name])
      return rows.length === 0
    }),
  )
  await withClient(serverUrl(), (client) => client.query(`create database ${name} template ${database.name}`))
  const url = new URL(serverUrl())
  url.pathname = `/${name}`
  return {
    url: url.href,
    name,
    drop: async () => {
      await withClient(serverUrl(), (client) => client.query(`drop database if exists ${name} with (force)`))
    },
  }
}

async function epochOf(database: FreshDatabase): Promise<string | undefined> {
  const [row] = await query<{ epoch: string }>(database, 'select aftercommit_kernel.current_epoch() as epoch')
  return row?.epoch
}

const pair = () => nodes as [Node, Node]

test('a copy of a database is another epoch, and each keeps its own', async () => {
  const epochs = [await epochOf(original), await epochOf(copy)]
  expect(epochs[0]).toMatch(/^[0-9a-f]{16}$/)
  expect(epochs[1]).toMatch(/^[0-9a-f]{16}$/)
  expect(epochs[1]).not.toBe(epochs[0])
  expect([await epochOf(original), await epochOf(copy)]).toEqual(epochs)
  expect(pair().map(({ parts }) => parts.applied.epoch)).toEqual(epochs)
})

test('a copy of the copy is yet another one', async () => {
  const plain = await createFreshDatabase()
  const first = await copyOf(plain)
  const second = await copyOf(first)
  try {
    const epochs = [await epochOf(plain), await epochOf(first), await epochOf(second)]
    expect(new Set(epochs).size).toBe(3)
  } finally {
    for (const database of [second, first, plain]) await database.drop()
  }
})

test('what one has in L2 is not served by the other, though both hold the row', async () => {
  const [here, there] = pair()
  await query(original, `update user_account set name = 'Ada of the original' where id = $1`, [userId])
  expect((await getUser(here, userId))?.name).toBe('Ada of the original')
  const sharedReads = there.parts.queryBus.cacheOf(GetUser)!.statistics
  expect((await getUser(there, userId))?.name).toBe('Ada')
  expect(sharedReads.l2Hits).toBe(0)
})

test('a write to one neither moves the other’s position nor makes anything there stale', async () => {
  const [here, there] = pair()
  await getUser(there, userId)
  const { epoch, position } = there.parts.applied
  const hits = there.parts.queryBus.cacheOf(GetUser)!.statistics.l1Hits
  const own = await registerUser(there, 'of the copy')
  await there.parts.check.run()
  const after = there.parts.applied.position
  expect(after).toBeGreaterThan(position)
  await renameUser(here, userId, 'Grace')
  await until('the write is applied where it was made', () => here.parts.applied.position > position)
  await there.parts.check.run()
  expect(there.parts.applied.epoch).toBe(epoch)
  expect((await getUser(there, userId))?.name).toBe('Ada')
  expect(there.parts.queryBus.cacheOf(GetUser)!.statistics.l1Hits).toBe(hits + 1)
  expect(await getUser(here, own.id)).toBeNull()
})

test('a token of one does not count as a position of the other', async () => {
  const [here, there] = pair()
  const write = new Consistency(here.parts.check, here.parts.applied)
  await renameUser(here, userId, 'Hopper', write)
  expect(write.token?.epoch).toBe(here.parts.applied.epoch)
  // Committed past the other node: only a check, which a foreign token must ask for, finds it.
  await query(copy, `update user_account set name = 'Ada of the copy' where id = $1`, [userId])
  await query(
    copy,
    `insert into aftercommit_kernel.outbox_message (type, payload)
     values ('users.user-renamed', jsonb_build_object('userId', $1::text, 'name', 'Ada of the copy'))`,
    [userId],
  )
  const read = new Consistency(there.parts.check, there.parts.applied, write.token)
  expect((await getUser(there, userId, read))?.name).toBe('Ada of the copy')
  expect(read.token?.epoch).toBe(there.parts.applied.epoch)
})
