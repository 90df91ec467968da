import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { Redis } from 'ioredis'
import type { CacheCluster } from '../../support/cache-cluster.js'
import { startCacheCluster } from '../../support/cache-cluster.js'
import { newCacheInStep, untilInL2 } from '../../support/cache-reads.js'
import { redisUrl } from '../../support/fresh-database.js'

const long = 'a line of a report\n'.repeat(2_000)
const neverLoads = async (): Promise<never> => {
  throw new Error('It was to come from L2')
}

describe('CACHE_COMPRESS_ABOVE_BYTES', () => {
  let cluster: CacheCluster & { stop(): Promise<void> }
  let redis: Redis
  beforeAll(async () => {
    cluster = await startCacheCluster('L1 and L2', 3, { CACHE_COMPRESS_ABOVE_BYTES: '1000' })
    redis = new Redis(redisUrl())
  })
  afterAll(async () => {
    redis.disconnect()
    await cluster.stop()
  })

  async function bytesInRedis(cache: string, key: string): Promise<number> {
    const { namespace } = cluster.nodes[0]!.parts.installation
    const [name = ''] = await redis.keys(`${namespace}:v*:${cache}.*:${key}`)
    return redis.strlen(name)
  }

  test('large values take a fraction of the room in Redis, and come back as they were on every node', async () => {
    const [first, ...others] = await newCacheInStep<string>(cluster)
    await first.getOrCreate('long', async () => long)
    for (const cache of others) {
      await untilInL2(cache, 'long')
      expect(await cache.getOrCreate('long', neverLoads)).toBe(long)
    }
    expect(await bytesInRedis(first.name, 'long')).toBeLessThan(long.length / 10)
  })

  test('a value that is set, or loaded among many, is there for the others as well', async () => {
    const [first, second, third] = await newCacheInStep<string>(cluster)
    await first.set('set', long, { stamp: first.capture() })
    await cluster.inStep()
    await second!.getMany(['many', 'short'], async (keys) => new Map(keys.map((key) => [key, long + key])))
    for (const key of ['set', 'many', 'short']) await untilInL2(third!, key)
    const found = await third!.getMany(['set', 'many', 'short'], neverLoads)
    expect([...found.values()]).toEqual([long, `${long}many`, `${long}short`])
  })

  test('an invalidation while a value is being compressed makes it stale all the same', async () => {
    const [first, second] = await newCacheInStep<string>(cluster)
    await first.getOrCreate('long', async () => long)
    await cluster.change({ keys: ['long'] })
    expect(await second!.get('long')).toBeUndefined()
    expect(await first.get('long')).toBeUndefined()
  })
})
