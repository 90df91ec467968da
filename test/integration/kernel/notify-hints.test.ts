import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { notifyChannelOf } from '../../../src/kernel/journal/notify-hints.js'
import type { Node } from '../../../src/node.js'
import { createFreshDatabase, type FreshDatabase, query, withClient } from '../../support/fresh-database.js'
import { rareChecks, startTestNode } from '../../support/test-node.js'
import { until } from '../../support/until.js'
import { getUser, registerUser, renameUser } from '../../support/users.js'

let database: FreshDatabase
let writer: Node
let reader: Node

beforeAll(async () => {
  database = await createFreshDatabase()
  writer = await startTestNode(database, { env: rareChecks, redis: false })
  reader = await startTestNode(database, { env: rareChecks, redis: false })
  await until('the reader listens', () => reader.parts.subscriber.statistics.reconnects > 0)
})
afterAll(async () => {
  await writer.stop()
  await reader.stop()
  await database.drop()
})

test('without Redis, a write on one node evicts on the other long before a check would', async () => {
  const { id } = await registerUser(writer)
  for (const name of ['Grace', 'Edsger', 'Barbara']) {
    await getUser(reader, id)
    await renameUser(writer, id, name)
    await until('the other node has heard', async () => (await getUser(reader, id))?.name === name)
  }
})

test('a notification that the kernel did not send changes nothing and is counted', async () => {
  const { statistics } = reader.parts.subscriber
  const rejected = statistics.rejected
  await query(database, 'select pg_notify($1, $2)', [notifyChannelOf(reader.parts.installation), 'garbage'])
  await until('it was received', () => statistics.rejected === rejected + 1)
})

test('a listener whose connection was ended listens again, and misses nothing of what was written meanwhile', async () => {
  const { id } = await registerUser(writer)
  await until('the reader has it', async () => (await getUser(reader, id)) !== null)
  const { statistics } = reader.parts.subscriber
  const reconnects = statistics.reconnects
  await withClient(database.url, async (client) => {
    const { rowCount } = await client.query(
      `select pg_terminate_backend(pid) from pg_stat_activity
       where datname = current_database() and application_name = 'aftercommit listener'`,
    )
    expect(rowCount).toBeGreaterThan(0)
  })
  await renameUser(writer, id, 'Grace')
  await until('the reader listens again', () => statistics.reconnects > reconnects)
  await until('it shows the write', async () => (await getUser(reader, id))?.name === 'Grace')
})
