import { type LocalStack, startLocalStack } from './local-stack.js'

export const TEST_DATABASE_URL = 'AFTERCOMMIT_TEST_DATABASE_URL'
export const TEST_REDIS_URL = 'AFTERCOMMIT_TEST_REDIS_URL'

/**
 * A stack for one test file: on the servers that `run.ts` started for all of them, or on private ones where it
 * did not, as when an editor runs a single test. Nodes and further Redis servers that the file starts end with it.
 *
 * @throws Error of one line when a server does not start
 */
export function startTestStack(): Promise<LocalStack> {
  const databaseUrl = process.env[TEST_DATABASE_URL]
  const redisUrl = process.env[TEST_REDIS_URL]
  if (!databaseUrl) return startLocalStack()
  return startLocalStack({ databaseUrl, redisUrl, redis: redisUrl !== undefined })
}
