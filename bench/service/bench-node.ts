import 'reflect-metadata'
import { setTimeout as sleep } from 'node:timers/promises'
import { pino } from 'pino'
import { readConfig } from '../../src/config.js'
import type { Wrappers } from '../../src/container.js'
import type { HybridCache } from '../../src/kernel/cache/hybrid-cache.js'
import type { ServiceModule } from '../../src/kernel/cqrs/module.js'
import { Node } from '../../src/node.js'
import { modules } from '../../src/service-modules.js'
import type { EntrantSettings } from '../entrant.js'
import { benchModule, itemCache } from './bench-module.js'

export interface BenchNodeOptions {
  readonly env?: Readonly<Record<string, string>>
  /** Default: true. */
  readonly redis?: boolean
  readonly offered?: readonly ServiceModule[]
  readonly wrappers?: Wrappers
}

/**
 * A whole node in this process, as `main.ts` would start it, with the settings' defaults: check interval, lease and
 * tables are those of production in every figure. Only the room for all caches is larger: some keep a million entries.
 */
export async function startBenchNode(
  { databaseUrl, redisUrl }: EntrantSettings,
  { env = {}, redis = true, offered = [...modules, benchModule], wrappers = {} }: BenchNodeOptions = {},
): Promise<Node> {
  const config = readConfig({
    DATABASE_URL: databaseUrl,
    REDIS_URL: redis ? redisUrl : undefined,
    PORT: '0',
    LOG_LEVEL: 'silent',
    CACHE_TOTAL_BYTES: '8000000000',
    ...env,
  })
  const node = new Node(config, pino({ level: config.LOG_LEVEL }), offered, wrappers)
  await node.start()
  while (redis && node.parts.redis?.status !== 'ready') await sleep(5)
  return node
}

export function itemsOf(node: Node): HybridCache {
  return node.parts.caches.of(itemCache)
}
