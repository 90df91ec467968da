/** The peers with nothing but Redis, over a connection that pipelines by itself. */
import { createKeyv } from '@keyv/redis'
import { createCache as createDeduped } from 'async-cache-dedupe'
import { BentoCache, bentostore } from 'bentocache'
import { redisDriver } from 'bentocache/drivers/redis'
import { createCache as createCacheManager } from 'cache-manager'
import { Cacheable } from 'cacheable'
import { ManualCache, RedisCache } from 'layered-loader'
import type { Entrant, EntrantSettings } from '../entrant.js'
import { concurrentReads, connect, prefill } from './l2.js'

const ttlMs = 3_600_000

interface Peer {
  set(key: string, value: unknown): Promise<unknown>
  get(key: string): Promise<unknown>
  close(): Promise<unknown>
}

async function entrantOf(settings: EntrantSettings, { set, get, close }: Peer): Promise<Entrant> {
  await prefill(set)
  return {
    round: () => concurrentReads(get, settings),
    close: async () => {
      await close()
    },
  }
}

export async function openLayeredLoader(settings: EntrantSettings): Promise<Entrant> {
  const redis = await connect(settings.redisUrl)
  const cache = new ManualCache<unknown>({
    asyncCache: new RedisCache(redis, { prefix: 'layered-loader:', json: true, ttlInMsecs: ttlMs }),
  })
  return entrantOf(settings, {
    set: (key, value) => cache.set(key, value),
    get: (key) => cache.get(key),
    close: async () => redis.disconnect(),
  })
}

export async function openAsyncCacheDedupe(settings: EntrantSettings): Promise<Entrant> {
  const redis = await connect(settings.redisUrl)
  const cache = createDeduped({
    ttl: ttlMs / 1_000,
    storage: { type: 'redis', options: { client: redis } },
  }).define('items', async () => undefined)
  return entrantOf(settings, {
    set: (key, value) => cache.set('items', `dedupe:${key}`, value, ttlMs / 1_000),
    get: (key) => cache.get('items', `dedupe:${key}`),
    close: async () => redis.disconnect(),
  })
}

export async function openCacheManager(settings: EntrantSettings): Promise<Entrant> {
  const keyv = createKeyv(settings.redisUrl, { namespace: 'cache-manager' })
  const cache = createCacheManager({ stores: [keyv], ttl: ttlMs })
  return entrantOf(settings, {
    set: (key, value) => cache.set(key, value),
    get: (key) => cache.get(key),
    close: () => keyv.disconnect(),
  })
}

export async function openCacheable(settings: EntrantSettings): Promise<Entrant> {
  const keyv = createKeyv(settings.redisUrl, { namespace: 'cacheable' })
  const cache = new Cacheable({ primary: keyv, ttl: ttlMs })
  return entrantOf(settings, {
    set: (key, value) => cache.set(key, value),
    get: (key) => cache.get(key),
    close: () => keyv.disconnect(),
  })
}

export async function openBentoCache(settings: EntrantSettings): Promise<Entrant> {
  const redis = await connect(settings.redisUrl)
  const bento = new BentoCache({
    default: 'redis',
    ttl: ttlMs,
    prefix: 'bentocache',
    stores: { redis: bentostore().useL2Layer(redisDriver({ connection: redis })) },
  })
  return entrantOf(settings, {
    set: (key, value) => bento.set({ key, value }),
    get: (key) => bento.get({ key }),
    close: () => bento.disconnectAll(),
  })
}
