import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import pg from 'pg'
import { type NodeProcess, startNode } from '../../tools/local-stack/index.js'
import { request, until } from './client.js'
import { type Cluster, startCluster } from './cluster.js'

const script = fileURLToPath(new URL('../fixtures/test-cache-node.mjs', import.meta.url))
const callers = 1_000

describe('a stampede on four processes', () => {
  let cluster: Cluster
  let database: pg.Client
  const nodes: NodeProcess[] = []

  beforeAll(async () => {
    cluster = await startCluster()
    const { stack, databaseUrl, redis } = cluster
    database = new pg.Client(databaseUrl)
    await database.connect()
    await database.query('create sequence test_loads')
    for (let index = 1; index <= 4; index++) {
      const name = `node-${index}`
      const env = { REDIS_TIMEOUT_MS: '5000' }
      nodes.push(await startNode({ stack, databaseUrl, redisUrl: redis.url, name, script, env }))
    }
    for (const node of nodes) await until('Redis is up', async () => (await redisOf(node)) === 'up')
  })
  afterAll(async () => {
    await Promise.all(nodes.map((node) => node.stop()))
    await database.end()
    await cluster.stop()
  })

  /** Loads begin from now on, and end when it is opened again. */
  const closeGate = () => database.query('select pg_advisory_lock(1)')
  const openGate = () => database.query('select pg_advisory_unlock(1)')

  async function loads(): Promise<number> {
    const { rows } = await database.query('select last_value, is_called from test_loads')
    return rows[0].is_called ? Number(rows[0].last_value) : 0
  }

  /** A thousand callers in one process; what they were answered, each value once. */
  async function storm(node: NodeProcess, key: string, clusterWaitMs: number): Promise<string[]> {
    const body = { key, callers, clusterWaitMs }
    const answer = await request<{ answered: number; values: string[] }>(node, 'POST', '/test-cache/storm', {
      body,
    })
    expect([answer.status, answer.body.answered]).toEqual([200, callers])
    return answer.body.values
  }

  /** All callers of all these processes are waiting. */
  async function untilAllWait(some: readonly NodeProcess[]): Promise<void> {
    for (const node of some) {
      await until(`${callers} callers wait on ${node.name}`, async () => {
        const { body } = await request<{ waiting: number }>(node, 'GET', '/test-cache/storm')
        return body.waiting === callers
      })
    }
  }

  async function redisOf(node: NodeProcess): Promise<string> {
    const { body } = await request<{ checks: { redis: { status: string } } }>(node, 'GET', '/health/ready')
    return body.checks.redis.status
  }

  test('a thousand callers on each of them, of one cold key at the same moment, make one load in all', async () => {
    const before = await loads()
    await closeGate()
    const storms = Promise.all(nodes.map((node) => storm(node, 'cold', 30_000)))
    await untilAllWait(nodes)
    await openGate()
    const value = `load ${before + 1}`
    expect(await storms).toEqual(nodes.map(() => [value]))
    expect(await loads()).toBe(before + 1)
    // From now on it is warm.
    expect(await Promise.all(nodes.map((node) => storm(node, 'cold', 30_000)))).toEqual(
      nodes.map(() => [value]),
    )
    expect(await loads()).toBe(before + 1)
  })

  test('loads that take no time at all are shared by all processes, too', async () => {
    const before = await loads()
    for (let round = 0; round < 10; round++) {
      const found = await Promise.all(nodes.map((node) => storm(node, `quick ${round}`, 30_000)))
      expect(new Set(found.flat()).size).toBe(1)
    }
    expect(await loads()).toBe(before + 10)
  })

  test('a process killed during the one load costs the callers of the others one wait, and no error', async () => {
    const [holder, ...others] = nodes
    const clusterWaitMs = 3_000
    const before = await loads()
    await closeGate()
    const killed = expect(storm(holder!, 'killed', clusterWaitMs)).rejects.toThrow('fetch failed')
    await until('it loads', async () => (await loads()) === before + 1)
    const storms = Promise.all(others.map((node) => storm(node, 'killed', clusterWaitMs)))
    await untilAllWait(others)
    holder!.kill('SIGKILL')
    await killed
    await openGate()
    const answers = (await storms).flat()
    // Whoever has waited long enough loads for itself, at most once on each node.
    expect(answers).toHaveLength(others.length)
    expect(answers).not.toContain(`load ${before + 1}`)
    const after = await loads()
    expect(after - before - 1).toBeGreaterThan(0)
    expect(after - before - 1).toBeLessThanOrEqual(others.length)
    await Promise.all(others.map((node) => storm(node, 'killed', clusterWaitMs)))
    expect(await loads()).toBe(after)
  })
})
