import { LRUCache } from 'lru-cache'
import { declareCache } from '../../src/kernel/cache/caches.js'
import type { Entrant, EntrantSettings, Sample } from '../entrant.js'
import { startBenchNode } from '../service/bench-node.js'
import { keysToAsk } from './hits.js'

const keyCount = 100_000
const maxEntries = 10_000

/** Reads a key; tells whether memory had it. */
type Ask = (key: string) => Promise<boolean>

/** Settings: `once`, whether as many keys are asked for beside them that nobody asks for again. */
async function hitsOf(ask: Ask, { once, quick }: EntrantSettings): Promise<Sample> {
  const keys = keysToAsk(keyCount, quick ? 100_000 : 1_000_000)
  let hits = 0
  for (const [index, key] of keys.entries()) {
    if (await ask(key)) hits++
    if (once) await ask(`once:${index}`)
  }
  return { percent: (100 * hits) / keys.length }
}

export async function openLruCache(settings: EntrantSettings): Promise<Entrant> {
  const cache = new LRUCache<string, object>({ max: maxEntries })
  const ask = async (key: string) => {
    const hit = cache.get(key) !== undefined
    if (!hit) cache.set(key, {})
    return hit
  }
  return { round: () => hitsOf(ask, settings), close: async () => {} }
}

export async function openOurs(settings: EntrantSettings): Promise<Entrant> {
  const node = await startBenchNode(settings, { redis: false })
  const cache = node.parts.caches.add(declareCache<object>({ name: 'bench-hit-ratio', maxEntries }))
  const ask = async (key: string) => {
    let loaded = false
    await cache.getOrCreate(key, async () => {
      loaded = true
      return {}
    })
    return !loaded
  }
  return { round: () => hitsOf(ask, settings), close: () => node.stop() }
}
