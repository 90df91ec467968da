import type { Fault } from './fault.js'

/** A replica takes over that lacks the last seconds. */
export const redisFailedOver: Fault = {
  kind: 'Redis failed over to a lagging replica',
  lane: 'redis',
  forNaive: true,
  async strike({ cluster, random, begins, hold }) {
    const { redis, nodes } = cluster
    redis.lag()
    await hold(random.integer(1_500, 3_500))
    begins()
    await redis.failOver()
    await hold(random.integer(0, 300))
    for (const node of nodes) node.redis.plugInto(redis.port)
    await hold(500)
    await redis.rejoin()
  },
}
