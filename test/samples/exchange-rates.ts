import { inject } from 'inversify'
import { Caches, declareCache } from '../../src/kernel/cache/caches.js'
import { type QueryHandler, queryHandler } from '../../src/kernel/cqrs/handlers.js'
import { query } from '../../src/kernel/cqrs/message.js'
import { domainEvent, z } from '../../src/kernel/domain/index.js'
import { on } from '../../src/kernel/journal/invalidation-rules.js'

const Currency = z.string().regex(/^[A-Z]{3}$/)
const Pair = z.templateLiteral([Currency, '/', Currency])

export const Rate = z.object({ perUnit: z.number(), bank: z.string(), provisional: z.boolean() })
export type Rate = z.output<typeof Rate>

/** Where rates are asked for. */
export class RateService {
  constructor(readonly url: string) {}
}

export class RatesPublished extends domainEvent('rates.published', z.object({ pairs: z.array(Pair) })) {}

export const exchangeRates = declareCache<Rate, `${string}/${string}`>({
  name: 'exchange-rates',
  invalidatedBy: [on(RatesPublished, ({ pairs }) => ({ keys: pairs }))],
  l2TtlMs: 600_000,
  failSafe: true,
  hardTimeoutMs: 2_000,
})

export class GetRate extends query(z.strictObject({ from: Currency, to: Currency })).returning<Rate>() {}

@queryHandler(GetRate)
export class GetRateHandler implements QueryHandler<GetRate> {
  constructor(
    @inject(Caches) private readonly caches: Caches,
    @inject(RateService) private readonly service: RateService,
  ) {}

  execute({ from, to }: GetRate): Promise<Rate> {
    return this.caches.of(exchangeRates).getOrCreate(`${from}/${to}`, async (context) => {
      const { key, previous, signal } = context
      const response = await fetch(`${this.service.url}/${key}`, {
        signal,
        headers: previous?.etag ? { 'If-None-Match': previous.etag } : {},
      })
      const isSame = previous !== undefined && response.status === 304
      const rate = isSame ? previous.value : Rate.parse(await response.json())
      // Each load decides that anew, also one that finds the rate unchanged.
      if (rate.provisional) context.adapt({ l1TtlMs: 1_000, l2TtlMs: 1_000 })
      context.tag(`bank:${rate.bank}`)
      if (isSame) return context.notModified()
      context.validators({ etag: response.headers.get('ETag') ?? undefined })
      return rate
    })
  }
}
