/**
 * The peers with nothing but memory, each by whatever of its reads is quickest, with room for as many entries as ours
 * and a time to live; none copies or serialises values.
 */
import { createCache as createDeduped } from 'async-cache-dedupe'
import { BentoCache, bentostore } from 'bentocache'
import { memoryDriver } from 'bentocache/drivers/memory'
import { createCache as createCacheManager } from 'cache-manager'
import { Cacheable, createKeyv } from 'cacheable'
import { ManualCache } from 'layered-loader'
import type { Entrant, EntrantSettings } from '../entrant.js'
import { awaitedHits, itemOf, keyOf } from './hits.js'
import { workOf } from './l1.js'

const ttlMs = 3_600_000
const maxItems = 1_048_576

interface Peer {
  set(key: string, value: unknown): Promise<unknown>
  get(key: string): Promise<unknown>
}

async function entrantOf(settings: EntrantSettings, { set, get }: Peer): Promise<Entrant> {
  const { keyCount, keys, count, peerCount } = workOf(settings)
  for (let index = 0; index < keyCount; index++) await set(keyOf(index), itemOf(index))
  return {
    round: () => awaitedHits(get, keys, Math.min(count, peerCount)),
    close: async () => {},
  }
}

export function openLayeredLoader(settings: EntrantSettings): Promise<Entrant> {
  const cache = new ManualCache<unknown>({
    inMemoryCache: { cacheType: 'lru-map', ttlInMsecs: ttlMs, maxItems },
  })
  return entrantOf(settings, {
    set: (key, value) => cache.set(key, value),
    get: (key) => cache.get(key),
  })
}

export function openAsyncCacheDedupe(settings: EntrantSettings): Promise<Entrant> {
  const cache = createDeduped({
    ttl: ttlMs / 1_000,
    storage: { type: 'memory', options: { size: maxItems } },
  }).define('items', async () => undefined)
  return entrantOf(settings, {
    set: (key, value) => cache.set('items', key, value, ttlMs / 1_000),
    get: (key) => cache.get('items', key),
  })
}

export function openCacheManager(settings: EntrantSettings): Promise<Entrant> {
  const cache = createCacheManager({ ttl: ttlMs })
  return entrantOf(settings, {
    set: (key, value) => cache.set(key, value),
    get: (key) => cache.get(key),
  })
}

export function openBentoCache(settings: EntrantSettings): Promise<Entrant> {
  const bento = new BentoCache({
    default: 'memory',
    ttl: ttlMs,
    stores: { memory: bentostore().useL1Layer(memoryDriver({ maxItems, serialize: false })) },
  })
  return entrantOf(settings, {
    set: (key, value) => bento.set({ key, value }),
    get: (key) => bento.get({ key }),
  })
}

export function openCacheable(settings: EntrantSettings): Promise<Entrant> {
  const cache = new Cacheable({
    ttl: ttlMs,
    primary: createKeyv({ lruSize: maxItems, useClone: false }),
  })
  return entrantOf(settings, {
    set: (key, value) => cache.set(key, value),
    get: (key) => cache.get(key),
  })
}
