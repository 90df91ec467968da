import { readFileSync } from 'node:fs'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import pg from 'pg'
import {
  type LocalStack,
  type NodeProcess,
  startNode,
  startTestStack,
} from '../../tools/local-stack/index.js'
import { registerUser, request, until } from './client.js'
import { openRaw, type RawConnection } from './raw-connection.js'

let stack: LocalStack
let databaseUrl: string

/** Flags enough for a page, with the longest descriptions in bytes: 3.3 MB of JSON. */
const flagCount = 1_000
const page = '/feature-flags?limit=1000'
const read = (path: string) => `GET ${path} HTTP/1.1\r\nHost: node\r\n\r\n`

beforeAll(async () => {
  stack = await startTestStack()
  databaseUrl = await stack.createDatabase()
  const node = await start()
  const database = new pg.Client(databaseUrl)
  await database.connect()
  await database.query(
    `insert into feature_flag (name, enabled, description, version)
     select 'flag-' || n, true, repeat('€', 1000), 1 from generate_series(1, $1) n`,
    [flagCount],
  )
  await database.end()
  await node.stop()
})
afterAll(() => stack.stop())

const start = (env: Record<string, string> = {}) =>
  startNode({
    stack,
    databaseUrl,
    redisUrl: stack.redisUrl,
    name: 'slow-readers',
    logLevel: 'info',
    env: { ANSWER_TIMEOUT_MS: '2000', ...env },
  })

/** Clients that send what they are given, and read nothing. */
async function openStalled(node: NodeProcess, count: number, sent: string): Promise<RawConnection[]> {
  return Promise.all(
    Array.from({ length: count }, async () => {
      const client = await openRaw(node)
      client.socket.pause()
      client.socket.write(sent)
      return client
    }),
  )
}

/** The most memory that a process has had so far, in MiB. */
const peakMemory = ({ pid }: NodeProcess) =>
  Number(/VmHWM:\s*(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1_024

const closedFor = (node: NodeProcess, reason: string) =>
  node
    .output()
    .split('\n')
    .filter((line) => line.includes(reason)).length

test('a page has a bound in bytes, whatever its rows contain, and the following ones have the rest', async () => {
  const node = await start()
  const names = new Set<string>()
  let next: string | undefined
  let pages = 0
  do {
    const { body } = await request<{ items: { name: string }[]; next?: string }>(
      node,
      'GET',
      `${page}${next === undefined ? '' : `&after=${next}`}`,
    )
    expect(Buffer.byteLength(JSON.stringify(body))).toBeLessThan(530_000)
    for (const { name } of body.items) names.add(name)
    next = body.next
    pages++
  } while (next !== undefined)
  expect(names.size).toBe(flagCount)
  expect(pages).toBe(6)
  await node.stop()
})

test('clients that do not read their answers cost a bounded amount of memory, and are closed', async () => {
  const node = await start()
  const cached = '/feature-flags?limit=100'
  await request(node, 'GET', cached)
  const before = peakMemory(node)
  // Each asks for 15 MB in one go.
  const clients = await openStalled(node, 100, read(cached).repeat(50))
  await until('all are closed', () => closedFor(node, 'a connection was closed') >= 100, 60_000)
  // It is 70 to 190, by when garbage is collected. What was asked for is 1,500.
  expect(peakMemory(node) - before).toBeLessThan(250)
  expect((await request(node, 'GET', page)).status).toBe(200)
  for (const { socket } of clients) socket.destroy()
  expect(await node.stop()).toBe(0)
}, 120_000)

test('clients that do not finish their bodies hold a bounded amount of memory together, and disturb nobody', async () => {
  const node = await start()
  const head = 'POST /users HTTP/1.1\r\nHost: node\r\nContent-Type: application/json\r\n'
  const clients = await openStalled(
    node,
    100,
    `${head}Content-Length: 1048576\r\n\r\n${'x'.repeat(1_000_000)}`,
  )
  await until('all but 64 are closed', () => closedFor(node, 'hold too much') >= 36)
  expect(closedFor(node, 'hold too much')).toBe(36)
  await registerUser(node)
  for (const { socket } of clients) socket.destroy()
  expect(await node.stop()).toBe(0)
}, 60_000)

test('a client that reads slowly, but reads, gets its whole answer; so does one that pipelines', async () => {
  const node = await start({ ANSWER_TIMEOUT_MS: '20000' })
  const client = await openRaw(node)
  client.socket.write(
    `${read('/feature-flags?limit=100').repeat(100)}GET /health/live HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\r\n`,
  )
  for (let taken = -1; !client.isClosed() && taken !== client.received().length; ) {
    taken = client.received().length
    client.socket.pause()
    await new Promise((resolve) => setTimeout(resolve, 20))
    client.socket.resume()
    await until('more is read', () => client.isClosed() || client.received().length > taken)
  }
  await client.closes()
  expect(client.received().match(/HTTP\/1\.1 200 OK/g)).toHaveLength(101)
  expect(client.received()).toContain('{"status":"live"}')
  await node.stop()
}, 60_000)

test('at the limit of connections those that say nothing make room, and those being answered stay', async () => {
  const node = await start({ MAX_CONNECTIONS: '4', FAULTS: 'before-load:hold:5000' })
  const silent = await Promise.all([1, 2, 3, 4].map(() => openRaw(node)))
  const busy: RawConnection[] = []
  await until('one finds all connections busy', async () => {
    const client = await openRaw(node)
    busy.push(client)
    client.socket.write(read(`/feature-flags/flag-${busy.length}`))
    return closedFor(node, 'all connections are busy') > 0
  })
  await Promise.all(silent.map((client) => client.closes()))
  const answered = () => busy.filter((client) => client.received().startsWith('HTTP/1.1 200 OK')).length
  await until('the four are answered', () => answered() >= 4)
  await node.stop()
}, 60_000)
