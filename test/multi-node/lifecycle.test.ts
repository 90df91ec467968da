import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import pg from 'pg'
import {
  type LocalStack,
  type NodeProcess,
  startNode,
  startTestStack,
} from '../../tools/local-stack/index.js'
import { getUser, pause, registerUser, renameUser, request, until, warm } from './client.js'
import { startProxy } from './tcp-proxy.js'

let stack: LocalStack

beforeAll(async () => {
  stack = await startTestStack()
})
afterAll(() => stack.stop())

test('four nodes started at once on an empty database all become ready, and each migration is applied once', async () => {
  const databaseUrl = await stack.createDatabase()
  const nodes = await Promise.all(
    [1, 2, 3, 4].map((n) => startNode({ stack, databaseUrl, redisUrl: stack.redisUrl, name: `node-${n}` })),
  )
  const client = new pg.Client(databaseUrl)
  await client.connect()
  const { rows } = await client.query('select name, count(*)::integer as times from migrations group by name')
  await client.end()
  expect(rows.length).toBeGreaterThanOrEqual(2)
  expect(rows.every(({ times }) => times === 1)).toBe(true)
  expect(await Promise.all(nodes.map((node) => node.stop()))).toEqual([0, 0, 0, 0])
})

describe('SIGTERM under load', () => {
  test('every request whose write was committed gets its answer, the exit code is 0, and nothing is lost', async () => {
    const databaseUrl = await stack.createDatabase()
    const start = (name: string) => startNode({ stack, databaseUrl, redisUrl: stack.redisUrl, name })
    const [leaving, staying] = await Promise.all([start('leaving'), start('staying')])
    const { acknowledged, stop } = registerUntilRefused(leaving)
    while (acknowledged.length < 50) await pause(5)
    const code = await leaving.stop()
    await stop()
    expect(code).toBe(0)

    const client = new pg.Client(databaseUrl)
    await client.connect()
    const committed = await client.query<{ id: string }>('select id from user_account')
    // Who was not answered was not written: the answer is the only thing that tells.
    expect(committed.rows.map(({ id }) => id).sort()).toEqual([...acknowledged].sort())
    await untilDrained(client)
    await client.end()
    for (const id of acknowledged.slice(0, 20)) expect((await getUser(staying, id)).status).toBe(200)
    await staying.stop()
  }, 60_000)

  /** Eight clients that register users until the node refuses them. */
  function registerUntilRefused(node: NodeProcess): { acknowledged: string[]; stop(): Promise<void> } {
    const acknowledged: string[] = []
    const clients = Array.from({ length: 8 }, async () => {
      for (;;) {
        try {
          acknowledged.push((await registerUser(node)).body.id)
        } catch {
          return
        }
      }
    })
    return { acknowledged, stop: async () => void (await Promise.all(clients)) }
  }

  async function untilDrained(client: pg.Client): Promise<void> {
    for (;;) {
      const { rows } = await client.query(
        'select count(*)::integer as left from aftercommit_kernel.outbox_message where position is null',
      )
      if (rows[0].left === 0) return
      await pause(20)
    }
  }
})

test('a node that is starting or whose lease is over is not ready, and says why', async () => {
  const databaseUrl = await stack.createDatabase()
  const node = await startNode({ stack, databaseUrl, redisUrl: stack.redisUrl, name: 'lonely' })
  const ready = await request<{ status: string; checks: Record<string, { status: string }> }>(
    node,
    'GET',
    '/health/ready',
  )
  expect(ready.body).toMatchObject({
    status: 'ready',
    node: 'lonely',
    checks: { postgres: { status: 'up' }, migrations: { status: 'done' }, journal: { status: 'in-step' } },
  })
  await node.stop()

  const unreachable = new URL(databaseUrl)
  unreachable.port = '1'
  const waiting = await startNode({
    stack,
    databaseUrl: unreachable.href,
    name: 'waiting',
    waitUntilReady: false,
  })
  for (;;) {
    const answer = await request<{ status: string }>(waiting, 'GET', '/health/ready').catch(() => undefined)
    if (answer) {
      expect([answer.status, answer.body.status]).toEqual([503, 'starting'])
      expect((await request(waiting, 'GET', '/health/live')).status).toBe(200)
      const read = await getUser(waiting, '00000000-0000-4000-8000-000000000000')
      expect([read.status, read.headers.get('retry-after')]).toEqual([503, '1'])
      break
    }
    await pause(20)
  }
  expect(await waiting.stop()).toBe(0)
})

test.each([
  ['PORT', 'many'],
  ['DATABASE_URL', 'mysql://x'],
  ['DATABASE_URL', 'postgres://u:p%zz@localhost/x'],
  ['MAX_STALENESS_MS', '0'],
  ['FAULTS', 'after-lunch:kill'],
])('a bad %s stops the start with one line that names it', async (name, value) => {
  const node = await startNode({
    stack,
    databaseUrl: 'postgres://127.0.0.1/none',
    env: { [name]: value },
    waitUntilReady: false,
  })
  expect((await node.exited).code).toBe(2)
  expect(node.output()).toMatch(new RegExp(`^aftercommit: ${name}.*\\n$`))
})

describe('Postgres out of reach', () => {
  test('is a prompt 503 for reads and writes, and is over without a restart', async () => {
    const databaseUrl = await stack.createDatabase()
    const proxy = await startProxy(databaseUrl)
    const env = { DATABASE_TIMEOUT_MS: '1000' }
    const node = await startNode({
      stack,
      databaseUrl: proxy.url,
      redisUrl: stack.redisUrl,
      name: 'cut-off',
      env,
    })
    const { id } = (await registerUser(node)).body
    await warm(node, id)
    proxy.cut()
    await until('the lease is over', async () => (await request(node, 'GET', '/health/ready')).status === 503)
    const refused = await Promise.all(Array.from({ length: 200 }, () => getUser(node, id)))
    for (const { status, headers, body } of refused) {
      expect([status, headers.get('retry-after'), headers.get('content-type')]).toEqual([
        503,
        '1',
        'application/problem+json; charset=utf-8',
      ])
      expect(JSON.stringify(body)).not.toContain('node_modules')
    }
    // 200 readers that each waited for a connection in turn would take minutes.
    expect(refused.at(-1)!.arrivedAt - refused[0]!.sentAt).toBeLessThan(15_000)
    expect((await request(node, 'PATCH', `/users/${id}`, { body: { name: 'x' } })).status).toBe(503)
    proxy.restore()
    await until(
      'the node is ready again',
      async () => (await request(node, 'GET', '/health/ready')).status === 200,
    )
    const renamed = await renameUser(node, id, 'afterwards')
    const asAfterTheWrite = { 'consistency-token': renamed.headers.get('consistency-token') ?? '' }
    expect((await getUser(node, id, asAfterTheWrite)).body).toEqual(renamed.body)
    await node.stop()
    await proxy.close()
  }, 60_000)
})
