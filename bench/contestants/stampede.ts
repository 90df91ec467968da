import { setTimeout as sleep } from 'node:timers/promises'
import { Redis } from 'ioredis'
import type { Entrant, EntrantSettings } from '../entrant.js'
import { type Member, openMembers, sharedClock } from '../members.js'
import { quantile } from '../statistics.js'
import { itemOf } from './hits.js'

// Caches, and the service, are loaded where they are used: a process that has to load all of them starts slowly.

const processes = 4
const callers = 1_000
/** What the source of the data takes, in ms. */
const loadMs = 50
/** Until the key is asked for, so that all processes know of it and ask at once, in ms. */
const leadMs = 25
const ttlMs = 3_600_000

interface Asked {
  readonly answeredAt: number
  /** The loads that this process made. */
  readonly loads: readonly { readonly from: number; readonly to: number }[]
}

type Load = () => Promise<object>

/** Four processes, whose thousand callers each ask for one cold key at the same moment. */
export async function openStampede(settings: EntrantSettings): Promise<Entrant> {
  const member = String(settings.member)
  const members = await openMembers(Array<string>(processes).fill(member), import.meta.url, settings)
  const repeats = settings.quick ? 2 : 10
  const redis = new Redis(settings.redisUrl)
  const stampede = async () => {
    const at = sharedClock() + leadMs
    const asked = (await Promise.all(members.map((one) => one.call('ask', at)))) as Asked[]
    const loads = asked.flatMap((one) => one.loads)
    const waiting = asked.filter((one) => one.loads.length === 0)
    const [load] = loads
    const took = load ? load.to - load.from : Number.NaN
    return {
      loads: loads.length,
      answered: Math.max(...asked.map(({ answeredAt }) => answeredAt)) - at,
      // The slowest of those that waited.
      added: waiting.map(({ answeredAt }) => answeredAt - at - took).sort((a, b) => b - a)[0],
    }
  }
  return {
    async round() {
      const runs: Awaited<ReturnType<typeof stampede>>[] = []
      for (let repeat = 0; repeat < repeats; repeat++) runs.push(await stampede())
      const roundTripMs = await roundTrip(redis)
      const added = medianOf(runs.flatMap((run) => run.added ?? []))
      return {
        loads: Math.max(...runs.map(({ loads }) => loads)),
        answeredMs: medianOf(runs.map(({ answered }) => answered)),
        roundTripMs,
        ...(Number.isFinite(added) && { addedMs: added, beyondRoundTripMs: added - roundTripMs }),
      }
    },
    async close() {
      redis.disconnect()
      await Promise.all(members.map((one) => one.close()))
    },
  }
}

function medianOf(values: readonly number[]): number {
  return quantile(
    [...values].sort((a, b) => a - b),
    0.5,
  )
}

async function roundTrip(redis: Redis): Promise<number> {
  const times: number[] = []
  for (let ping = 0; ping < 200; ping++) {
    const from = performance.now()
    await redis.ping()
    times.push(performance.now() - from)
  }
  return medianOf(times)
}

/** @param get reads a key through a cache, with `load` for a miss */
function asking(get: (key: string, load: Load) => Promise<unknown>): Member {
  return {
    async ask(at) {
      const loads: { from: number; to: number }[] = []
      const load = async () => {
        const from = sharedClock()
        await sleep(loadMs)
        loads.push({ from, to: sharedClock() })
        return itemOf(1)
      }
      await sleep(Math.max(0, at - sharedClock() - 2))
      while (sharedClock() < at);
      // The moment is the same in all processes, and no other round has it.
      await Promise.all(Array.from({ length: callers }, () => get(`item:${at}`, load)))
      return { answeredAt: sharedClock(), loads } satisfies Asked
    },
  }
}

export async function openOurNode(settings: EntrantSettings): Promise<Member> {
  const { itemsOf, startBenchNode } = await import('../service/bench-node.js')
  const node = await startBenchNode(settings)
  const items = itemsOf(node)
  return asking((key, load) => items.getOrCreate(key, load))
}

export async function openLayeredLoader({ redisUrl }: EntrantSettings): Promise<Member> {
  const { Loader, RedisCache } = await import('layered-loader')
  let loadNow: Load = async () => ({})
  const loader = new Loader<object>({
    inMemoryCache: { ttlInMsecs: ttlMs },
    asyncCache: new RedisCache<object>(new Redis(redisUrl), { json: true, ttlInMsecs: ttlMs }),
    dataSources: [{ name: 'items', get: () => loadNow(), getMany: async () => [] }],
  })
  return asking((key, load) => {
    loadNow = load
    return loader.get(key)
  })
}

export async function openBentoCache({ redisUrl }: EntrantSettings): Promise<Member> {
  const { BentoCache, bentostore } = await import('bentocache')
  const { memoryDriver } = await import('bentocache/drivers/memory')
  const { redisBusDriver, redisDriver } = await import('bentocache/drivers/redis')
  const connection = addressOf(redisUrl)
  const bento = new BentoCache({
    default: 'items',
    stores: {
      items: bentostore()
        .useL1Layer(memoryDriver({ maxItems: 100_000 }))
        .useL2Layer(redisDriver({ connection }))
        .useBus(redisBusDriver({ connection })),
    },
  })
  return asking((key, factory) => bento.getOrSet({ key, factory, ttl: ttlMs }))
}

export async function openCacheable({ redisUrl }: EntrantSettings): Promise<Member> {
  const { Cacheable } = await import('cacheable')
  const { default: KeyvRedis } = await import('@keyv/redis')
  const cache = new Cacheable({ secondary: new KeyvRedis(redisUrl), ttl: ttlMs })
  return asking((key, load) => cache.getOrSet(key, load))
}

export async function openCacheManager({ redisUrl }: EntrantSettings): Promise<Member> {
  const { createCache } = await import('cache-manager')
  const { createKeyv } = await import('cacheable')
  const { createKeyv: createKeyvRedis } = await import('@keyv/redis')
  const cache = createCache({ stores: [createKeyv({ ttl: ttlMs }), createKeyvRedis(redisUrl)], ttl: ttlMs })
  return asking((key, load) => cache.wrap(key, load))
}

export async function openAsyncCacheDedupe({ redisUrl }: EntrantSettings): Promise<Member> {
  const { createCache } = await import('async-cache-dedupe')
  let loadNow: Load = async () => ({})
  const cache = createCache({
    ttl: ttlMs / 1_000,
    storage: { type: 'redis', options: { client: new Redis(redisUrl) } },
  }).define('item', (_key: string) => loadNow())
  return asking((key, load) => {
    loadNow = load
    return cache.item(key)
  })
}

export function addressOf(redisUrl: string): { host: string; port: number } {
  const { hostname, port } = new URL(redisUrl)
  return { host: hostname, port: Number(port) }
}
