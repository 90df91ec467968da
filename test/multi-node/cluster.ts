import {
  type LocalStack,
  type NodeProcess,
  type RedisServer,
  startNode,
  startRedis,
  startTestStack,
} from '../../tools/local-stack/index.js'

/** The bound that the nodes under test run with, in ms: the service's default. */
export const maxStalenessMs = 2_000

export interface NodeSettings {
  readonly env?: Readonly<Record<string, string>>
  /** Instead of the cluster's Redis, for instance a proxy before it; null for none. */
  readonly redisUrl?: string | null
}

/** Nodes as separate processes over a database and a Redis of their own. */
export interface Cluster {
  readonly stack: LocalStack
  readonly databaseUrl: string
  readonly redis: RedisServer
  readonly nodes: readonly NodeProcess[]
  add(settings?: NodeSettings): Promise<NodeProcess>
  stop(): Promise<void>
}

export async function startCluster(...settings: NodeSettings[]): Promise<Cluster> {
  const stack = await startTestStack()
  const nodes: NodeProcess[] = []
  try {
    const databaseUrl = await stack.createDatabase()
    const redis = await startRedis(stack.folder)
    const add = async ({ env, redisUrl = redis.url }: NodeSettings = {}): Promise<NodeProcess> => {
      const node = await startNode({
        stack,
        databaseUrl,
        redisUrl: redisUrl ?? undefined,
        name: `node-${nodes.length + 1}`,
        env: { MAX_STALENESS_MS: String(maxStalenessMs), ...env },
      })
      nodes.push(node)
      return node
    }
    for (const each of settings) await add(each)
    const stop = async () => {
      await Promise.all(nodes.map((node) => node.stop()))
      await stack.stop()
    }
    return { stack, databaseUrl, redis, nodes, add, stop }
  } catch (error) {
    for (const node of nodes) node.kill()
    await stack.stop()
    throw error
  }
}
