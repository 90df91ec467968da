/**
 * Nodes whose clocks are a quarter of an hour off, beside one whose clock is right.
 *
 * Under libfaketime Node's timers and `performance.now` go on as usual, as only the time that clocks show is shifted,
 * not how fast it passes. Where the monotonic clock is shifted as well, it shows the false time since 1970.
 */
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { Redis } from 'ioredis'
import pg from 'pg'
import { type NodeProcess, startNode } from '../../tools/local-stack/index.js'
import { type Answer, getUser, pause, registerUser, renameUser, request, until, warm } from './client.js'
import { type Cluster, maxStalenessMs, startCluster } from './cluster.js'
import { fakeClock } from './fake-clock.js'

const script = fileURLToPath(new URL('../fixtures/test-cache-node.mjs', import.meta.url))
const offByMs = 15 * 60_000
const clocks: readonly { name: string; offsetMs: number; env: Record<string, string> }[] = [
  { name: 'right', offsetMs: 0, env: {} },
  { name: 'ahead', offsetMs: offByMs, env: fakeClock('+15m', { monotonic: false }) },
  { name: 'behind', offsetMs: -offByMs, env: fakeClock('-15m', { monotonic: false }) },
  { name: 'ahead-in-all-clocks', offsetMs: offByMs, env: fakeClock('+15m', { monotonic: true }) },
  { name: 'behind-in-all-clocks', offsetMs: -offByMs, env: fakeClock('-15m', { monotonic: true }) },
]

/** A busy machine must not make L2's answers into misses, or another node's load into two. */
const patient = { l2SoftTimeoutMs: 5_000, l2HardTimeoutMs: 5_000, clusterWaitMs: 5_000 }

/**
 * How far, in ms, two nodes may be apart about the cluster's time: half the round trip of each one's best check. Next
 * to nothing usually, and generous here, as what is looked for is a quarter of an hour.
 */
const clockErrorMs = 500

interface Read {
  readonly value: string
  readonly source: string
}

describe('nodes whose clocks are 15 minutes ahead and behind, beside one whose clock is right', () => {
  let cluster: Cluster
  let database: pg.Client
  let nodes: NodeProcess[]

  beforeAll(async () => {
    cluster = await startCluster()
    database = new pg.Client(cluster.databaseUrl)
    await database.connect()
    await database.query('create sequence test_loads')
    nodes = await Promise.all(clocks.map(start))
  })
  afterAll(async () => {
    await Promise.all(nodes.map((node) => node.stop()))
    await database.end()
    await cluster.stop()
  })

  /** A node that has Redis, and the clock that it should have. */
  async function start({ name, offsetMs, env }: (typeof clocks)[number]): Promise<NodeProcess> {
    const { stack, databaseUrl, redis } = cluster
    const settings = { MAX_STALENESS_MS: String(maxStalenessMs), REDIS_TIMEOUT_MS: '5000', ...env }
    const node = await startNode({ stack, databaseUrl, redisUrl: redis.url, name, script, env: settings })
    await until('Redis is up', async () => {
      const { body } = await request<{ checks: { redis: { status: string } } }>(node, 'GET', '/health/ready')
      return body.checks.redis.status === 'up'
    })
    const { body } = await request<{ wallMs: number }>(node, 'GET', '/test-cache/clock')
    expect(Math.abs(body.wallMs - Date.now() - offsetMs)).toBeLessThan(60_000)
    return node
  }

  const read = (node: NodeProcess, key: string, entry: Record<string, number> = {}): Promise<Answer<Read>> =>
    request<Read>(node, 'POST', '/test-cache/read', {
      body: { key, tags: [tagOf(key)], entry: { ...patient, ...entry } },
    })

  async function call(node: NodeProcess, operation: string, ...args: unknown[]): Promise<Answer> {
    const answer = await request(node, 'POST', `/test-cache/call/${operation}`, { body: args })
    expect(answer.status).toBe(200)
    return answer
  }

  /** Loaded by this node, and in L2 for the others, as writes to L2 are not waited for. */
  async function loadOn(
    node: NodeProcess,
    key: string,
    entry?: Record<string, number>,
  ): Promise<Answer<Read>> {
    const answer = await read(node, key, entry)
    expect(answer.body).toMatchObject({ value: expect.any(String), source: 'miss' })
    await untilInL2(node, key)
    return answer
  }

  async function untilInL2(node: NodeProcess, key: string): Promise<void> {
    const past = { entry: { ...patient, skipL1Read: true, skipL1Write: true } }
    await until(`${key} is in L2`, async () => {
      const { body } = await call(node, 'get', key, past)
      return body.answer !== undefined
    })
  }

  async function copiedByAll(key: string, value: string, except: NodeProcess): Promise<void> {
    for (const node of nodes.filter((one) => one !== except)) {
      expect([node.name, (await read(node, key)).body]).toEqual([node.name, { value, source: 'l2' }])
    }
  }

  test.each([
    ['remove', (key: string) => [key]],
    ['expire', (key: string) => [key]],
    ['removeByTag', (key: string) => [tagOf(key)]],
    ['expireByTag', (key: string) => [tagOf(key)]],
    ['clear', () => []],
  ])(
    '%s on any of them has all of them load anew, and what is loaded then stays',
    async (operation, args) => {
      for (const [index, writer] of nodes.entries()) {
        const key = `${operation} on ${writer.name}`
        const loader = nodes[(index + 1) % nodes.length]!
        const old = (await loadOn(loader, key)).body.value
        await copiedByAll(key, old, loader)
        const { arrivedAt } = await call(writer, operation, ...args(key))
        const isNew = ({ value }: Read) => value !== old
        const { value } = (await seenInTime(() => read(loader, key), isNew, arrivedAt)).body
        await untilInL2(loader, key)
        for (const node of nodes) {
          const answer = await seenInTime(() => read(node, key), isNew, arrivedAt)
          expect([node.name, answer.body.value]).toEqual([node.name, value])
        }
        for (const node of nodes) {
          expect([node.name, (await read(node, key)).body]).toEqual([node.name, { value, source: 'l1' }])
        }
      }
    },
  )

  test('a value lives as long as it should on all of them, no longer and no shorter, whoever has loaded it', async () => {
    const lifeMs = 3_000
    await Promise.all(
      nodes.map(async (loader) => {
        const key = `loaded by ${loader.name}`
        const entry = { l1TtlMs: 600_000, l2TtlMs: lifeMs }
        const loaded = await loadOn(loader, key, entry)
        const { value } = loaded.body
        await Promise.all(nodes.map((node) => lives(node, key, entry, loaded, lifeMs)))
        for (const node of nodes) expect((await read(node, key, entry)).body.value).not.toBe(value)
      }),
    )
  })

  /** Reads until there is another value, which must be when the life of the one is over. */
  async function lives(
    node: NodeProcess,
    key: string,
    entry: Record<string, number>,
    loaded: Answer<Read>,
    lifeMs: number,
  ): Promise<void> {
    // It began some time between the request that loaded it and the answer.
    const earliestEnd = loaded.sentAt + lifeMs - clockErrorMs
    const latestEnd = loaded.arrivedAt + lifeMs + clockErrorMs
    let copies = 0
    for (;;) {
      const { body, sentAt, arrivedAt } = await read(node, key, entry)
      if (body.value !== loaded.body.value) {
        expect(arrivedAt).toBeGreaterThan(earliestEnd)
        break
      }
      expect(sentAt).toBeLessThan(latestEnd)
      copies++
      await pause(20)
    }
    expect(copies).toBeGreaterThan(0)
  }

  test('a removal before it started is honoured by a node with a wrong clock, and what was loaded afterwards is kept', async () => {
    const [first] = nodes
    const [, ahead, behind] = clocks
    const late = [ahead!, behind!]
    const keys = late.map(({ name }) => `before ${name}`)
    const removed = await Promise.all(keys.map((key) => loadOn(first!, key)))
    const gone = new Set(removed.map(({ body }) => body.value))
    await call(first!, 'removeByTag', ...keys.map(tagOf))
    const kept = (await loadOn(first!, 'after the removal')).body.value
    // What was removed by its tag is still there, for a newcomer to find.
    for (const key of keys) expect(await entriesInRedis(key)).toHaveLength(1)
    const newcomers = await Promise.all(late.map(start))
    nodes.push(...newcomers)
    for (const [index, newcomer] of newcomers.entries()) {
      const { body } = await read(newcomer, keys[index]!)
      expect(body.source).toBe('miss')
      expect(gone).not.toContain(body.value)
      expect((await read(newcomer, 'after the removal')).body).toEqual({ value: kept, source: 'l2' })
    }
  })

  async function entriesInRedis(key: string): Promise<string[]> {
    const client = new Redis(cluster.redis.url)
    try {
      return await client.keys(`*:v*:${key}`)
    } finally {
      client.disconnect()
    }
  }

  test('a write of a sample module on any of them is read on all of them within the bound', async () => {
    const { id } = (await registerUser(nodes[0]!)).body
    for (const writer of nodes) {
      for (const node of nodes) await warm(node, id)
      const { body, arrivedAt } = await renameUser(writer, id, `by ${writer.name}`)
      await Promise.all(
        nodes.map(async (node) => {
          const isNew = (user: { version: number }) => user.version === body.version
          expect((await seenInTime(() => getUser(node, id), isNew, arrivedAt)).body).toEqual(body)
        }),
      )
    }
  })
})

const tagOf = (key: string): string => `tag of ${key}`

/** Reads until the answer is a new one. One that is not may only be given to who has asked within the bound. */
async function seenInTime<Body>(
  ask: () => Promise<Answer<Body>>,
  isNew: (body: Body) => boolean,
  writtenAt: number,
): Promise<Answer<Body>> {
  for (;;) {
    const answer = await ask()
    expect(answer.status).toBe(200)
    if (isNew(answer.body)) return answer
    expect(answer.sentAt - writtenAt).toBeLessThan(maxStalenessMs)
    await pause(5)
  }
}
