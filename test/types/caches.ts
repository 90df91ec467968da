import { z } from 'zod'
import type { CacheEvents } from '../../src/kernel/cache/cache-events.js'
import { type Caches, declareCache } from '../../src/kernel/cache/caches.js'
import { domainEvent } from '../../src/kernel/domain/index.js'
import { on } from '../../src/kernel/journal/invalidation-rules.js'

class RatesPublished extends domainEvent('rates.published', z.object({ pairs: z.array(z.string()) })) {}

interface Rate {
  readonly perUnit: number
}
type Pair = `${string}/${string}`

const rates = declareCache<Rate, Pair>({
  name: 'rates',
  invalidatedBy: [on(RatesPublished, ({ pairs }) => ({ keys: pairs }))],
  l2TtlMs: 600_000,
})
const names = declareCache<string | null>({ name: 'names', createdBy: [on(RatesPublished, () => ({}))] })

// @ts-expect-error a cache without a name
declareCache<Rate>({})
// @ts-expect-error an option that there is not
declareCache<Rate>({ name: 'rates', ttlMs: 5 })
// @ts-expect-error an option of the wrong type
declareCache<Rate>({ name: 'rates', failSafe: 'yes' })
// @ts-expect-error an event's field that it lacks
declareCache<Rate>({ name: 'rates', invalidatedBy: [on(RatesPublished, ({ pair }) => ({ keys: [pair] }))] })

export async function useThem(caches: Caches): Promise<void> {
  const cache = caches.of(rates)
  const load = async (): Promise<Rate> => ({ perUnit: 2 })

  const rate: Rate = await cache.getOrCreate('EUR/CHF', load)
  // @ts-expect-error a key that is none of this cache's
  await cache.getOrCreate('EUR', load)
  // @ts-expect-error a load of something else
  await cache.getOrCreate('EUR/CHF', async () => 'a lot')
  // @ts-expect-error what may be absent is not declared as such
  await cache.getOrCreate('EUR/CHF', async () => null)
  // @ts-expect-error an answer taken for another type
  const wrong: number = await cache.getOrCreate('EUR/CHF', load)
  // @ts-expect-error what is shared is not to be changed
  rate.perUnit = 3

  // @ts-expect-error there may be no value
  const present: Rate = await cache.get('EUR/CHF')
  const maybe: Rate | undefined = await cache.get('EUR/CHF')
  // @ts-expect-error a key that is none of this cache's
  await cache.get('EUR')
  // @ts-expect-error there may be no value in memory
  const peeked: Rate = cache.peek('EUR/CHF')
  // @ts-expect-error a key that is none of this cache's
  cache.peek(7)

  const many: Map<Pair, Rate> = await cache.getMany(['EUR/CHF'], async (missing: readonly Pair[]) => {
    return new Map(missing.map((pair) => [pair, { perUnit: 2 }]))
  })
  // @ts-expect-error keys that are none of this cache's
  await cache.getMany(['EUR'], async () => new Map())
  // @ts-expect-error values of another type
  await cache.getMany(['EUR/CHF'], async () => new Map([['EUR/CHF', 'a lot']]))

  await cache.set('EUR/CHF', { perUnit: 2 }, { stamp: cache.capture(), tags: ['bank'] })
  // @ts-expect-error a value of another type
  await cache.set('EUR/CHF', { unit: 2 })
  // @ts-expect-error a key that is none of this cache's
  await cache.set('EUR', { perUnit: 2 })
  // @ts-expect-error a stamp that is none
  await cache.set('EUR/CHF', { perUnit: 2 }, { stamp: 7 })
  // @ts-expect-error values of another type
  await cache.setMany([['EUR/CHF', 2]])

  // @ts-expect-error a key that is none of this cache's
  await cache.remove('EUR/CHF', 'EUR')
  // @ts-expect-error keys that are none of this cache's
  await cache.removeMany(['EUR'])
  // @ts-expect-error a key that is none of this cache's
  await cache.expire('EUR')

  const other = caches.of(names)
  const name: string | null = await other.getOrCreate('EUR', async () => null)
  // @ts-expect-error an absent name taken for a present one
  const given: string = await other.getOrCreate('EUR', async (): Promise<string | null> => null)
  // @ts-expect-error one cache's values for another's
  await other.getOrCreate('EUR', load)

  void [wrong, present, maybe, peeked, many, name, given]
}

export async function decide(caches: Caches): Promise<void> {
  await caches.of(rates).getOrCreate('EUR/CHF', async (context) => {
    const earlier: Rate | undefined = context.previous?.value
    // @ts-expect-error there may be no earlier value
    const { value } = context.previous
    context.adapt({ l1TtlMs: 5, skipL2Write: true })
    // @ts-expect-error how long callers wait is not for the load to decide
    context.adapt({ hardTimeoutMs: 5 })
    // @ts-expect-error an option of the wrong type
    context.adapt({ clone: 1 })
    // @ts-expect-error a validator that there is not
    context.validators({ eTag: '"1"' })
    // @ts-expect-error a tag that is no text
    context.tag(7)
    void [earlier, value]
    return context.notModified()
  })
  // @ts-expect-error options of an entry that there are not
  await caches.of(names).getOrCreate('EUR', async () => null, { entry: { ttlMs: 5 } })
  await caches.of(rates).getOrCreate('EUR/CHF', async () => ({ perUnit: 2 }), {
    // @ts-expect-error tags that follow from a field that the value lacks
    tagsOf: ({ bank }) => [bank],
  })
}

export function listen(events: CacheEvents): void {
  events.on('hit', ({ key, tier }) => [key, tier === 'l1'])
  // @ts-expect-error an event that there is not
  events.on('hits', () => {})
  // @ts-expect-error a field that the event lacks
  events.on('miss', ({ tier }) => tier)
  // @ts-expect-error a tier that there is not
  events.on('hit', ({ tier }) => tier === 'l3')
}
