import type { Fault } from './fault.js'

export const nodeCutFromRedis: Fault = {
  kind: 'node cut from Redis',
  lane: 'node',
  forNaive: true,
  async strike({ cluster, random, begins, hold }) {
    await cluster.withNode(random, async ({ number, redis }) => {
      const late = random.chance(0.5)
      begins(late ? 'what was sent meanwhile arrives late' : 'connections are lost', number)
      redis.cut()
      await hold(random.integer(1_500, 4_500))
      redis.mend(late)
    })
  },
}

export const allCutFromRedis: Fault = {
  kind: 'all nodes cut from Redis',
  lane: 'redis',
  forNaive: true,
  async strike({ cluster, random, begins, hold }) {
    const late = random.chance(0.5)
    begins(late ? 'what was sent meanwhile arrives late' : 'connections are lost')
    for (const { redis } of cluster.nodes) redis.cut()
    await hold(random.integer(1_500, 4_500))
    for (const { redis } of cluster.nodes) redis.mend(late)
  },
}
