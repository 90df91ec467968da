import { once } from 'node:events'
import { createServer } from 'node:net'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { createFreshDatabase, type FreshDatabase, serverUrl, withClient } from '../support/fresh-database.js'
import { startTestNode } from '../support/test-node.js'
import { until } from '../support/until.js'

let database: FreshDatabase
beforeAll(async () => {
  database = await createFreshDatabase()
})
afterAll(() => database.drop())

test('a node whose start failed leaves no connection, which would keep the test run from ending', async () => {
  const taken = createServer().listen(0, '127.0.0.1')
  await once(taken, 'listening')
  const { port } = taken.address() as { port: number }
  await expect(startTestNode(database, { env: { PORT: String(port) } })).rejects.toThrow('EADDRINUSE')
  taken.close()
  await withClient(serverUrl(), (client) =>
    until('its connections are closed', async () => {
      const { rowCount } = await client.query(`select from pg_stat_activity where datname = $1`, [
        database.name,
      ])
      return rowCount === 0
    }),
  )
})
