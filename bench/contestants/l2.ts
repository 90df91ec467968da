import { Redis } from 'ioredis'
import { declareCache } from '../../src/kernel/cache/caches.js'
import type { Entrant, EntrantSettings, Sample } from '../entrant.js'
import { startBenchNode } from '../service/bench-node.js'
import { userIdOf, userOf } from './hits.js'

export const keyCount = 10_000
export const concurrency = 64

export function userKeyOf(index: number): string {
  return `user:${userIdOf(index)}`
}

/** As many readers as there is concurrency, each with one read under way. */
export async function concurrentReads(
  get: (key: string) => Promise<unknown>,
  { quick }: EntrantSettings,
): Promise<Sample> {
  const keys = Array.from({ length: keyCount }, (_, index) => userKeyOf(index))
  const count = quick ? 10_000 : 200_000
  let next = 0
  const reader = async () => {
    while (next < count) {
      const value = await get(keys[next++ % keyCount] as string)
      if (value === undefined || value === null) throw new Error('a hit was a miss')
    }
  }
  const startedAt = performance.now()
  await Promise.all(Array.from({ length: concurrency }, reader))
  return { perSecond: (count / (performance.now() - startedAt)) * 1_000 }
}

/** Writes every key, several at a time. */
export async function prefill(set: (key: string, value: unknown) => Promise<unknown>): Promise<void> {
  const atOnce = 50
  for (let from = 0; from < keyCount; from += atOnce) {
    await Promise.all(
      Array.from({ length: atOnce }, (_, index) => set(userKeyOf(from + index), userOf(from + index))),
    )
  }
}

export async function connect(redisUrl: string): Promise<Redis> {
  const redis = new Redis(redisUrl, { enableAutoPipelining: true, lazyConnect: true })
  await redis.connect()
  return redis
}

/** The limit: ioredis at its best, and JSON. */
export async function openIoredis(settings: EntrantSettings): Promise<Entrant> {
  const redis = await connect(settings.redisUrl)
  await prefill((key, value) => redis.set(`raw:${key}`, JSON.stringify(value), 'PX', 3_600_000))
  const get = async (key: string) => {
    const text = await redis.get(`raw:${key}`)
    return text === null ? undefined : JSON.parse(text)
  }
  return { round: () => concurrentReads(get, settings), close: async () => redis.disconnect() }
}

/** A cache whose reads look past memory and leave nothing there. */
const inL2 = declareCache<unknown>({ name: 'bench-l2', skipL1Read: true, skipL1Write: true })

const unexpected = async (): Promise<never> => {
  throw new Error('a hit was a miss')
}

export async function openOurs(settings: EntrantSettings): Promise<Entrant> {
  const node = await startBenchNode(settings)
  const items = node.parts.caches.add(inL2)
  await prefill((key, value) => items.getOrCreate(key, async () => value))
  // On a machine that is overloaded, Redis may not answer within its time.
  const values = new Map(Array.from({ length: keyCount }, (_, index) => [userKeyOf(index), userOf(index)]))
  const get = (key: string) => items.getOrCreate(key, async () => values.get(key))
  return {
    round: async () => {
      const { misses } = items.statistics
      const sample = await concurrentReads(get, settings)
      if (items.statistics.misses - misses > keyCount / 100) throw new Error('too many hits were misses')
      return sample
    },
    close: () => node.stop(),
  }
}

/** Of the hints and the look whether the connection lives. */
const notOfCaches = new Set(['publish', 'ping'])

/** How many commands Redis is given for a hit, and for a miss with the write that follows it. */
export async function openCommandCount(settings: EntrantSettings): Promise<Entrant> {
  const node = await startBenchNode(settings)
  const items = node.parts.caches.add(inL2)
  const { redis } = node.parts
  const connection = await connect(settings.redisUrl)
  const monitor = await connection.monitor()
  const reads = 100
  let commands = 0
  let heard = (_marker: string): void => {}
  monitor.on('monitor', (_time: string, [name = '', argument = '']: string[], source: string) => {
    // What a script calls costs no round trip.
    if (source === 'lua') return
    if (name.toLowerCase() === 'echo') heard(argument)
    else if (!notOfCaches.has(name.toLowerCase())) commands++
  })
  /** On the connection of the reads, so that what they did not wait for has been counted. */
  const allCounted = async (marker: string) => {
    const seen = new Promise<void>((resolve) => {
      heard = (one) => one === marker && resolve()
    })
    await redis?.echo(marker)
    await seen
  }
  const count = async (name: string, keys: readonly string[], read: (key: string) => Promise<unknown>) => {
    await allCounted(`before ${name}`)
    commands = 0
    // One after the other: what reads can share that come together is another matter.
    for (const key of keys) await read(key)
    await allCounted(`after ${name}`)
    return commands / keys.length
  }
  let round = 0
  return {
    round: async () => {
      round++
      const keys = Array.from({ length: reads }, (_, index) => `${round}:${index}`)
      const load = async () => userOf(1)
      const alone = { entry: { clusterSingleFlight: false } }
      const perMissAlone = await count(`misses alone ${round}`, keys, (key) =>
        items.getOrCreate(`alone:${key}`, load, alone),
      )
      const perMiss = await count(`misses ${round}`, keys, (key) => items.getOrCreate(key, load))
      const perHit = await count(`hits ${round}`, keys, (key) => items.getOrCreate(key, unexpected))
      return { perHit, perMiss, perMissAlone }
    },
    close: async () => {
      monitor.disconnect()
      connection.disconnect()
      await node.stop()
    },
  }
}
