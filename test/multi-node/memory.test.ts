import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { type NodeProcess, startNode } from '../../tools/local-stack/index.js'
import { request } from './client.js'
import { type Cluster, startCluster } from './cluster.js'

const script = fileURLToPath(new URL('../fixtures/test-cache-node.mjs', import.meta.url))

/** MiB of heap that each node may use, and texts of 100 KB each: together more than twice as much. */
const heapMb = 96
const pages = 1_800

let cluster: Cluster
let nodes: NodeProcess[]

beforeAll(async () => {
  cluster = await startCluster()
  nodes = []
  for (const name of ['loading', 'copying']) {
    nodes.push(
      await startNode({
        stack: cluster.stack,
        databaseUrl: cluster.databaseUrl,
        redisUrl: cluster.redis.url,
        name,
        script,
        env: { NODE_OPTIONS: `--max-old-space-size=${heapMb}`, REDIS_TIMEOUT_MS: '5000' },
      }),
    )
  }
})
afterAll(async () => {
  for (const node of nodes) node.kill()
  await cluster.stop()
})

test('a node that is asked for ever new keys lives on, and keeps what there is room for', async () => {
  for (const node of nodes) {
    const { body } = await request<{ entries: number; bytes: number; l2Hits: number }>(
      node,
      'POST',
      '/test-cache/pages',
      { body: { pages } },
    )
    expect(body.entries).toBeGreaterThan(50)
    expect(body.bytes).toBeLessThan((heapMb * 1_048_576) / 2)
    // Nothing but the first node's loads was needed.
    expect(body.l2Hits).toBe(node === nodes[0] ? 0 : pages)
    expect((await request(node, 'GET', '/health/live')).status).toBe(200)
  }
}, 120_000)
