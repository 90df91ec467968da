import { execFileSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { type NodeProcess, startNode } from '../local-stack/index.js'
import { openReapedFolder, type ReapedFolder } from '../local-stack/reaped-folder.js'
import { Cable } from './cable.js'
import { PostgresPair } from './postgres-pair.js'
import type { Random } from './random.js'
import { RedisPair } from './redis-pair.js'

export type Mode = 'aftercommit' | 'naive'

const naiveScript = fileURLToPath(new URL('../demo/naive-node.js', import.meta.url))

/** One node and its only two cables, which lead to Postgres and Redis. */
export class ClusterNode {
  readonly port: number
  #process: NodeProcess

  constructor(
    readonly number: number,
    readonly database: Cable,
    readonly redis: Cable,
    first: NodeProcess,
    private readonly launch: (port: number, env: Environment, wait: boolean) => Promise<NodeProcess>,
  ) {
    this.#process = first
    this.port = first.port
  }

  get process(): NodeProcess {
    return this.#process
  }

  get cables(): readonly Cable[] {
    return [this.database, this.redis]
  }

  /** Starts a new process in place of one that has ended. */
  async start(env: Environment = {}, wait = true): Promise<void> {
    this.#process = await this.launch(this.port, env, wait)
  }

  async kill(): Promise<void> {
    this.#process.kill('SIGKILL')
    await this.#process.exited
  }
}

type Environment = Readonly<Record<string, string>>

/** Nodes as processes, a pair of Postgres servers and a pair of Redis servers. Each node has its own cables to the servers. */
export class Cluster {
  readonly #reserved = new Set<ClusterNode>()

  private constructor(
    private readonly folder: ReapedFolder,
    readonly postgres: PostgresPair,
    readonly redis: RedisPair,
    readonly nodes: readonly ClusterNode[],
  ) {}

  /** @param prepare fills the database before the first node starts */
  static async start(
    count: number,
    mode: Mode,
    boundMs: number,
    prepare: (postgres: PostgresPair) => Promise<void>,
  ): Promise<Cluster> {
    const folder = await openReapedFolder()
    try {
      const [postgres, redis] = await Promise.all([
        PostgresPair.start(folder.path),
        RedisPair.start(folder.path),
      ])
      await prepare(postgres)
      const add = (number: number) => addNode(number, folder, postgres, redis, mode, boundMs)
      const numbers = Array.from({ length: count }, (_, index) => index + 1)
      return new Cluster(folder, postgres, redis, await Promise.all(numbers.map(add)))
    } catch (error) {
      await folder.close()
      throw error
    }
  }

  get path(): string {
    return this.folder.path
  }

  /** Reserves a node for a fault while `work` runs. */
  async withNode(random: Random, work: (node: ClusterNode) => Promise<void>): Promise<void> {
    const node = random.pick(this.nodes.filter((candidate) => !this.#reserved.has(candidate)))
    this.#reserved.add(node)
    try {
      await work(node)
    } finally {
      this.#reserved.delete(node)
    }
  }

  async stop(): Promise<void> {
    for (const node of this.nodes) for (const cable of node.cables) cable.close()
    this.redis.close()
    await this.folder.close()
  }
}

async function addNode(
  number: number,
  folder: ReapedFolder,
  postgres: PostgresPair,
  redis: RedisPair,
  mode: Mode,
  boundMs: number,
): Promise<ClusterNode> {
  const [database, toRedis] = [await Cable.to(postgres.port), await Cable.to(redis.port)]
  const launch = (port: number | undefined, env: Environment, waitUntilReady: boolean) =>
    startNode({
      stack: { folder: folder.path, watch: folder.watch },
      databaseUrl: postgres.url(database.port),
      redisUrl: `redis://127.0.0.1:${toRedis.port}`,
      name: `node-${number}`,
      port,
      logLevel: 'error',
      env: { MAX_STALENESS_MS: String(boundMs), ...env },
      waitUntilReady,
      // A node that is restarted during other faults waits until Postgres can be reached again.
      readyLimitMs: 120_000,
      ...(mode === 'naive' ? { script: naiveScript } : {}),
    })
  return new ClusterNode(number, database, toRedis, await launch(undefined, {}, true), launch)
}

/** The environment with which a process sees another time; undefined if there is no `faketime` on the PATH. */
export function fakeClock(timestampFile: string): Environment | undefined {
  try {
    const output = execFileSync('faketime', ['-f', '+0', 'env'], { encoding: 'utf8' })
    const library = /^LD_PRELOAD=(.+)$/m.exec(output)?.[1]
    if (library === undefined) return undefined
    return {
      LD_PRELOAD: library,
      FAKETIME_TIMESTAMP_FILE: timestampFile,
      // The library reads the file once a second, so the clock can be set while the node runs.
      FAKETIME_CACHE_DURATION: '1',
      FAKETIME_DONT_FAKE_MONOTONIC: '1',
      FAKETIME_DONT_RESET: '1',
    }
  } catch {
    return undefined
  }
}
