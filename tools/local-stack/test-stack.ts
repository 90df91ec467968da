import { type LocalStack, startLocalStack } from './local-stack.js'

export const TEST_DATABASE_URL = 'AFTERCOMMIT_TEST_DATABASE_URL'
export const TEST_REDIS_URL = 'AFTERCOMMIT_TEST_REDIS_URL'

/**
 * Starts a stack for one test file. It uses the servers that `run.ts` has started for all files. Without them, for instance if
 * an editor runs a single test, it starts private ones. Nodes and Redis servers that the file starts end with the stack.
 *
 * @throws Error of one line if a server does not start
 */
export function startTestStack(): Promise<LocalStack> {
  const databaseUrl = process.env[TEST_DATABASE_URL]
  const redisUrl = process.env[TEST_REDIS_URL]
  if (!databaseUrl) return startLocalStack()
  return startLocalStack({ databaseUrl, redisUrl, redis: redisUrl !== undefined })
}
