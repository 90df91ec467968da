import { LRUCache } from 'lru-cache'
import type { Entrant, EntrantSettings } from '../entrant.js'
import { itemsOf, startBenchNode } from '../service/bench-node.js'
import { awaitedHits, itemOf, keyOf, keysToAsk, synchronousHits } from './hits.js'

const draws = 1_000_000

export interface Work {
  readonly keys: readonly string[]
  readonly keyCount: number
  /** Reads a round; fewer are enough of what is ten times slower. */
  readonly count: number
  readonly peerCount: number
}

export function workOf(settings: EntrantSettings): Work {
  const keyCount = Number(settings.keyCount)
  return {
    keyCount,
    keys: keysToAsk(keyCount, settings.quick ? 100_000 : draws),
    count: settings.quick ? 100_000 : keyCount === 1 ? 5_000_000 : 2_000_000,
    peerCount: settings.slow ? 200_000 : Number.POSITIVE_INFINITY,
  }
}

const unexpected = async (): Promise<never> => {
  throw new Error('a hit was a miss')
}

/** The limit: an async function around a `Map`, awaited. */
export async function openAsyncFloor(settings: EntrantSettings): Promise<Entrant> {
  const { keyCount, keys, count } = workOf(settings)
  const map = new Map(Array.from({ length: keyCount }, (_, index) => [keyOf(index), itemOf(index)]))
  const get = async (key: string) => map.get(key)
  return { round: () => awaitedHits(get, keys, count), close: async () => {} }
}

/** The limit of what is read without awaiting. */
export async function openLruCache(settings: EntrantSettings): Promise<Entrant> {
  const { keyCount, keys, count } = workOf(settings)
  const cache = new LRUCache<string, object>({ max: 1_048_576, ttl: 3_600_000 })
  for (let index = 0; index < keyCount; index++) cache.set(keyOf(index), itemOf(index))
  const get = (key: string) => cache.get(key)
  return { round: async () => synchronousHits(get, keys, count), close: async () => {} }
}

/** Settings: `tags` is how many each entry carries, `synchronous` whether to `peek`. */
export async function openOurs(settings: EntrantSettings): Promise<Entrant> {
  const { keyCount, keys, count } = workOf(settings)
  const node = await startBenchNode(settings, { redis: false })
  const items = itemsOf(node)
  const tagCount = Number(settings.tags ?? 0)
  for (let index = 0; index < keyCount; index++) {
    const tags = Array.from({ length: tagCount }, (_, tag) => `tag:${tag}:${index % 1_000}`)
    await items.getOrCreate(keyOf(index), async () => itemOf(index), { tags })
  }
  const get = (key: string) => items.getOrCreate(key, unexpected)
  const peek = (key: string) => items.peek(key)
  return {
    round: async () =>
      settings.synchronous ? synchronousHits(peek, keys, count) : awaitedHits(get, keys, count),
    close: () => node.stop(),
  }
}
