import { createHmac, timingSafeEqual } from 'node:crypto'
import { type CircuitBreakerPolicy, ConsecutiveBreaker, circuitBreaker, handleAll } from 'cockatiel'
import type { Redis } from 'ioredis'
import { z } from 'zod'
import type { Installation } from '../journal/installation.js'
import { isWorthALine } from '../observability/log-sampling.js'
import type { Logger } from '../observability/logger.js'
import type { SharedEntry, SharedKey, SharedTier } from './shared-tier.js'

/** Changes whenever entries are written differently, so that an older release's entries are never read. */
const formatVersion = 1

const entrySchema = z.tuple([z.number().int().nonnegative().safe(), z.array(z.string()), z.unknown()])

/** Consecutive failures after which Redis is left alone, and for how many ms until it is tried again. */
const failuresToOpen = 3
const openMs = 1_000

const signatureLength = 43

/**
 * L2 in Redis. Entries are signed together with their key: a Redis that somebody else can write to could
 * otherwise put words into this service's mouth, or one user's value under another's key.
 */
export class RedisTier implements SharedTier {
  readonly statistics = { hits: 0, misses: 0, rejected: 0, failures: 0 }
  readonly #breaker: CircuitBreakerPolicy

  /** @param redis must fail, not queue, while Redis is away, and give up a command after a time */
  constructor(
    private readonly redis: Redis,
    private readonly installation: Pick<Installation, 'namespace' | 'secret'>,
    private readonly logger: Logger,
  ) {
    this.#breaker = circuitBreaker(handleAll, {
      halfOpenAfter: openMs,
      breaker: new ConsecutiveBreaker(failuresToOpen),
    })
    this.#breaker.onBreak(() => {
      this.logger.warn('Redis does not answer: reads go on without L2')
      // A connection whose other end vanished stays "ready" until TCP gives up, a quarter of an hour later.
      if (this.redis.status === 'ready') this.redis.disconnect(true)
    })
  }

  async get(key: SharedKey): Promise<SharedEntry | undefined> {
    if (this.redis.status !== 'ready') return undefined
    const name = this.#nameOf(key)
    let text: string | null
    try {
      text = await this.#breaker.execute(() => this.redis.get(name))
    } catch {
      this.statistics.failures++
      return undefined
    }
    if (text === null) {
      this.statistics.misses++
      return undefined
    }
    const entry = this.#decode(name, text)
    if (entry) this.statistics.hits++
    else {
      const rejected = ++this.statistics.rejected
      if (isWorthALine(rejected)) {
        this.logger.warn({ rejected }, 'an L2 entry was rejected: it was not written by this service')
      }
    }
    return entry
  }

  set(key: SharedKey, entry: SharedEntry, ttlMs: number): void {
    if (this.redis.status !== 'ready') return
    const name = this.#nameOf(key)
    let body: string
    try {
      body = JSON.stringify([entry.position, entry.names, entry.value])
    } catch {
      // A value that JSON cannot carry (a bigint, a cycle) lives in memory only; its reader has it already.
      this.statistics.failures++
      return
    }
    this.#breaker
      .execute(() => this.redis.set(name, this.#sign(name, body) + body, 'PX', Math.max(1, Math.ceil(ttlMs))))
      .catch(() => {
        this.statistics.failures++
      })
  }

  #nameOf({ epoch, cache, key }: SharedKey): string {
    return `${this.installation.namespace}:v${formatVersion}:${epoch}:${cache}:${key}`
  }

  #decode(name: string, text: string): SharedEntry | undefined {
    const body = text.slice(signatureLength)
    const expected = Buffer.from(this.#sign(name, body), 'latin1')
    const given = Buffer.from(text.slice(0, signatureLength), 'latin1')
    if (given.length !== expected.length || !timingSafeEqual(given, expected)) return undefined
    const parsed = entrySchema.safeParse(JSON.parse(body))
    if (!parsed.success) return undefined
    const [position, names, value] = parsed.data
    return { position, names, value }
  }

  #sign(name: string, body: string): string {
    return createHmac('sha256', this.installation.secret)
      .update(name)
      .update('\n')
      .update(body)
      .digest('base64url')
  }
}
