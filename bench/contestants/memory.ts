import { LRUCache } from 'lru-cache'
import { declareCache } from '../../src/kernel/cache/caches.js'
import type { Entrant, EntrantSettings } from '../entrant.js'
import { startBenchNode } from '../service/bench-node.js'
import { collectGarbage } from './garbage.js'
import { itemOf, keyOf, userIdOf, userOf } from './hits.js'

const maxEntries = 1_048_576

interface Filling {
  readonly count: number
  readonly keyAt: (index: number) => string
  readonly valueAt: (index: number) => unknown
}

/** Settings: `value` is what is kept, `item` or `user`. */
function fillingOf({ value, quick }: EntrantSettings): Filling {
  const count = quick ? 100_000 : 1_000_000
  return value === 'user'
    ? { count, keyAt: (index) => `user:${userIdOf(index)}`, valueAt: userOf }
    : { count, keyAt: keyOf, valueAt: itemOf }
}

/** Bytes of an entry: all that is allocated from before the cache is made until it is full, without garbage. */
async function bytesAnEntry(count: number, fill: () => Promise<unknown>): Promise<number> {
  const before = bytesInUse()
  const cache = await fill()
  const bytes = (bytesInUse() - before) / count
  if (cache === undefined) throw new Error('nothing was filled')
  return bytes
}

function bytesInUse(): number {
  collectGarbage()
  const { heapUsed, external } = process.memoryUsage()
  return heapUsed + external
}

/** Nothing changes from one round to the next. */
function entrantOf(perEntry: number, close: () => Promise<void>): Entrant {
  return { round: async () => ({ perEntry }), close }
}

export async function openLruCache(settings: EntrantSettings): Promise<Entrant> {
  const { count, keyAt, valueAt } = fillingOf(settings)
  const perEntry = await bytesAnEntry(count, async () => {
    const cache = new LRUCache<string, object>({ max: maxEntries, ttl: 3_600_000 })
    for (let index = 0; index < count; index++) cache.set(keyAt(index), valueAt(index) as object)
    return cache
  })
  return entrantOf(perEntry, async () => {})
}

export async function openOurs(settings: EntrantSettings): Promise<Entrant> {
  const { count, keyAt, valueAt } = fillingOf(settings)
  const node = await startBenchNode(settings, { redis: false })
  const perEntry = await bytesAnEntry(count, async () => {
    const cache = node.parts.caches.add(declareCache<unknown>({ name: 'bench-memory', maxEntries }))
    for (let index = 0; index < count; index++)
      await cache.getOrCreate(keyAt(index), async () => valueAt(index))
    return cache
  })
  return entrantOf(perEntry, () => node.stop())
}
