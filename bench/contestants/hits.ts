import type { Sample } from '../entrant.js'

/** One key, or draws from many by Zipf's law (exponent 1): few keys are asked for most of the time. */
export function keysToAsk(keyCount: number, draws: number): readonly string[] {
  const keys = Array.from({ length: keyCount }, (_, index) => keyOf(index))
  if (keyCount === 1) return keys
  const cumulative = new Float64Array(keyCount)
  let sum = 0
  for (let rank = 0; rank < keyCount; rank++) {
    sum += 1 / (rank + 1)
    cumulative[rank] = sum
  }
  let seed = 42
  const random = () => {
    // Mulberry32 (public domain, Tommy Ettinger): the same draws for everybody.
    seed = (seed + 0x6d2b79f5) | 0
    let mixed = Math.imul(seed ^ (seed >>> 15), 1 | seed)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
  // Ranks are spread over the keys, or the popular ones would be neighbours in memory.
  const spread = Array.from({ length: keyCount }, (_, index) => (index * 7_919) % keyCount)
  return Array.from({ length: draws }, () => {
    const wanted = random() * sum
    let low = 0
    let high = keyCount - 1
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((cumulative[middle] as number) < wanted) low = middle + 1
      else high = middle
    }
    return keys[spread[low] as number] as string
  })
}

export function keyOf(index: number): string {
  return `item:${index}`
}

/** What every cache holds: a small object, as a row of a table would be. */
export function itemOf(index: number): { id: number; name: string; price: number } {
  return { id: index, name: `item ${index}`, price: index % 1_000 }
}

/** What a service answers of a user: strings of its own, as they come off a wire. */
export function userOf(index: number): Readonly<Record<string, unknown>> {
  return JSON.parse(
    JSON.stringify({
      id: userIdOf(index),
      email: `user.number.${index}@example.com`,
      name: `Firstname Lastname ${index}`,
      permissions: ['articles:read', 'articles:write'],
      version: 1 + (index % 20),
    }),
  )
}

export function userIdOf(index: number): string {
  return `${(index * 2_654_435_761).toString(16).padStart(8, '0').slice(-8)}-9c4e-4d0a-8f11-${index.toString(16).padStart(12, '0')}`
}

/**
 * Reads one after the other, each awaited. They are timed by the CPU that the process has used, as nothing here waits
 * for anything: a core that others take away for a while does not make a cache slower.
 */
export async function awaitedHits(
  get: (key: string) => Promise<unknown>,
  keys: readonly string[],
  count: number,
): Promise<Sample> {
  const length = keys.length
  let at = 0
  const startedAt = process.cpuUsage()
  for (let done = 0; done < count; done++) {
    if ((await get(keys[at] as string)) === undefined) throw new Error('a hit was a miss')
    if (++at === length) at = 0
  }
  return { perSecond: count / secondsSince(startedAt) }
}

function secondsSince(startedAt: NodeJS.CpuUsage): number {
  const { user, system } = process.cpuUsage(startedAt)
  return (user + system) / 1_000_000
}

/** Reads that need no awaiting, timed alike. */
export function synchronousHits(
  get: (key: string) => unknown,
  keys: readonly string[],
  count: number,
): Sample {
  const length = keys.length
  let at = 0
  const startedAt = process.cpuUsage()
  for (let done = 0; done < count; done++) {
    if (get(keys[at] as string) === undefined) throw new Error('a hit was a miss')
    if (++at === length) at = 0
  }
  return { perSecond: count / secondsSince(startedAt) }
}
