import type { Fault } from './fault.js'

/** Redis restarts with the data that it had a while ago. */
export const redisSetBack: Fault = {
  kind: 'Redis set back to an old RDB',
  lane: 'redis',
  forNaive: true,
  async strike({ cluster, random, begins, hold }) {
    const rdbFile = await cluster.redis.snapshot()
    await hold(random.integer(1_500, 3_500))
    begins()
    await cluster.redis.setBack(rdbFile, random.integer(0, 500), hold)
    await hold(500)
  },
}
