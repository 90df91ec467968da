import type { Fault } from './fault.js'

export const redisRestartedEmpty: Fault = {
  kind: 'Redis restarted empty',
  lane: 'redis',
  forNaive: true,
  async strike({ cluster, random, begins, hold }) {
    begins()
    await cluster.redis.restartEmpty(random.integer(0, 1_500), hold)
  },
}
