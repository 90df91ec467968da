import type { Fault } from './fault.js'

/** Redis closes the connections of all subscribers, again and again. */
export const subscribersKilled: Fault = {
  kind: 'subscriber connections killed',
  lane: 'redis',
  forNaive: true,
  async strike({ cluster, random, begins, hold }) {
    begins()
    const times = random.integer(5, 20)
    for (let time = 0; time < times; time++) {
      await cluster.redis.command('CLIENT', 'KILL', 'TYPE', 'pubsub')
      await hold(random.integer(20, 250))
    }
  },
}
