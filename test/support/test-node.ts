import 'reflect-metadata'
import { readConfig } from '../../src/config.js'
import type { Wrappers } from '../../src/container.js'
import type { ServiceModule } from '../../src/kernel/cqrs/module.js'
import { Node } from '../../src/node.js'
import { modules } from '../../src/service-modules.js'
import { type FreshDatabase, redisUrl } from './fresh-database.js'
import { scriptedModule } from './scripted-module.js'
import { silentLogger } from './silent-logger.js'

/**
 * Checks so rare, in ms, that nothing is found out by one within a test. What happens all the same, happens by
 * hints.
 */
export const rareChecks = { MAX_STALENESS_MS: '60000', CHECK_INTERVAL_MS: '20000' }

/** Nothing takes a position, or writes to Postgres, but what the test itself does. */
export const modulesWithoutEventHandlers: readonly ServiceModule[] = modules.map((module) => ({
  ...module,
  handlers: (module.handlers ?? []).filter(({ name }) => name !== 'WriteWelcomeMessage'),
}))

export interface TestNodeOptions {
  readonly env?: Readonly<Record<string, string>>
  readonly redis?: boolean
  readonly databaseUrl?: string
  readonly offered?: readonly ServiceModule[]
  /** Trouble between the protocol and its servers: see `test/kit`. */
  readonly wrappers?: Wrappers
}

let started = 0

/** A node in this process; several make a cluster. It also offers the scripted module. */
export async function startTestNode(database: FreshDatabase, options: TestNodeOptions = {}): Promise<Node> {
  const {
    env = {},
    redis = true,
    databaseUrl = database.url,
    offered = [...modules, scriptedModule],
    wrappers = {},
  } = options
  const config = readConfig(
    {
      DATABASE_URL: databaseUrl,
      REDIS_URL: redis ? redisUrl() : undefined,
      PORT: '0',
      NODE_NAME: `test-${++started}`,
      RUN_MIGRATIONS: 'false',
      DATABASE_POOL_SIZE: '8',
      LOAD_CONCURRENCY: '4',
      // A run that is broken off leaves nothing in Redis for long.
      CACHE_L2_TTL_MS: '120000',
      REDIS_TIMEOUT_MS: '2000',
      ...env,
    },
    offered,
  )
  const node = new Node(config, silentLogger, offered, wrappers)
  try {
    await node.start()
  } catch (error) {
    // Its connections would keep the test run from ending.
    await node.stop()
    throw error
  }
  return node
}
