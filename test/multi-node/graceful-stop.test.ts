import { afterAll, beforeAll, expect, test } from '@jest/globals'
import pg from 'pg'
import {
  type LocalStack,
  type NodeProcess,
  startNode,
  startTestStack,
} from '../../tools/local-stack/index.js'
import { registerUser, until } from './client.js'
import { openRaw, type RawConnection } from './raw-connection.js'

let stack: LocalStack
let databaseUrl: string
let node: NodeProcess

beforeAll(async () => {
  stack = await startTestStack()
  databaseUrl = await stack.createDatabase()
})
afterAll(() => stack.stop())

const start = (env: Record<string, string> = {}) =>
  startNode({ stack, databaseUrl, redisUrl: stack.redisUrl, name: 'stopping', logLevel: 'info', env })

/** What the node logs last when it has dispatched and closed everything. */
const stoppedInOrder = () => {
  expect(node.output()).toContain('"msg":"stopped"')
  expect(node.output()).not.toContain('too long')
}

const head = 'HTTP/1.1\r\nHost: node\r\n'
const post = `POST /users ${head}Content-Type: application/json\r\n`

/** What has no complete request, by what was sent. */
const incomplete: Readonly<Record<string, string>> = {
  'nothing at all': '',
  'half a request line': 'GET /heal',
  'half a header': `GET /health/live ${head}Accept: `,
  'half a body': `${post}Content-Length: 100\r\n\r\n{"email":`,
  'half a chunked body': `${post}Transfer-Encoding: chunked\r\n\r\n5\r\n{"ema`,
  'a body to be continued': `${post}Expect: 100-continue\r\nContent-Length: 100\r\n\r\n`,
  'a request that is answered': `GET /health/live ${head}\r\n`,
  'half a request after another': `GET /health/live ${head}\r\nGET /health/li`,
  'a wish to upgrade': `GET /health/live ${head}Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n`,
}

test('a node that is told to stop closes every connection without a complete request at once, and stops in order', async () => {
  // So long that the node would be killed before a share of it is over.
  node = await start({ SHUTDOWN_TIMEOUT_MS: '100000' })
  const clients = await Promise.all(
    Object.values(incomplete).map(async (text) => {
      const client = await openRaw(node)
      client.socket.write(text)
      return client
    }),
  )
  // Its answer comes after the bytes above have arrived.
  await registerUser(node)
  expect(await node.stop()).toBe(0)
  stoppedInOrder()
  await Promise.all(clients.map((client) => client.closes()))
})

test('a request under way is answered before a stopping node closes its connection', async () => {
  node = await start({ FAULTS: 'after-commit:hold:1000' })
  const client = await openRaw(node)
  const body = JSON.stringify({ email: 'under-way@example.org', name: 'Ada' })
  client.socket.write(
    `POST /users HTTP/1.1\r\nHost: node\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
  )
  const database = new pg.Client(databaseUrl)
  await database.connect()
  await until('it is committed', async () => {
    const { rows } = await database.query("select id from user_account where email = 'under-way@example.org'")
    return rows.length === 1
  })
  expect(await node.stop()).toBe(0)
  stoppedInOrder()
  expect(client.received()).toMatch(/^HTTP\/1\.1 201 /)
  await client.closes()
  const { rows } = await database.query(
    'select position from aftercommit_kernel.outbox_message where position is null',
  )
  await database.end()
  expect(rows).toEqual([])
})

test('a client that does not take its answer has a share of the time for stopping, and what was committed is dispatched', async () => {
  node = await start({ SHUTDOWN_TIMEOUT_MS: '3000' })
  const stalled: RawConnection[] = []
  for (let n = 0; n < 3; n++) {
    const client = await openRaw(node)
    client.socket.pause()
    // The page for people loads this script; 20 of them are more than the buffers between the two can hold.
    client.socket.write('GET /docs/static/swagger-ui-bundle.js HTTP/1.1\r\nHost: node\r\n\r\n'.repeat(20))
    stalled.push(client)
  }
  await registerUser(node)
  expect(await node.stop()).toBe(0)
  stoppedInOrder()
  for (const { socket } of stalled) socket.destroy()
})
