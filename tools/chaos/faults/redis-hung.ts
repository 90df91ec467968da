import type { Fault } from './fault.js'

/** Connections to Redis stay open, but get no answers. */
export const redisHung: Fault = {
  kind: 'Redis hung',
  lane: 'redis',
  forNaive: true,
  async strike({ cluster, random, begins, hold }) {
    begins()
    cluster.redis.hang()
    await hold(random.integer(1_000, 4_000))
    cluster.redis.resume()
  },
}
