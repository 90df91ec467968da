import {
  type CircuitBreakerPolicy,
  CircuitState,
  ConsecutiveBreaker,
  circuitBreaker,
  handleWhen,
} from 'cockatiel'
import { type Redis, ReplyError } from 'ioredis'
import type { ClusterClock } from '../../journal/cluster-clock.js'
import type { Installation } from '../../journal/installation.js'
import { isWorthALine } from '../../observability/log-sampling.js'
import type { Logger } from '../../observability/logger.js'
import type { CacheEvents, NotStoredReason } from '../cache-events.js'
import { inChunks } from '../reads/in-chunks.js'
import { PendingReads } from '../reads/pending-reads.js'
import type { Serializer } from '../values/serializer.js'
import { StructuredSerializer } from '../values/structured-serializer.js'
import { BoundedReads } from './bounded-reads.js'
import { LoadLocks, lockVersion } from './load-lock.js'
import {
  type LoadLock,
  lockOfNobody,
  type SharedEntry,
  type SharedKey,
  type SharedTier,
} from './shared-tier.js'
import { PayloadTooLargeError, WireFormat } from './wire-format.js'

/** Consecutive failures after which Redis is left alone, and for how many ms until it is tried again. */
const failuresToOpen = 3
const openMs = 1_000

/**
 * Keys in one command or pipeline, and bytes after which a pipeline takes no further value. Redis does nothing else while it
 * runs a command, and this node builds a pipeline in one turn of the event loop.
 */
const keysACommand = 500
const bytesAPipeline = 1_048_576

export interface RedisTierOptions {
  readonly serializer?: Serializer | undefined
  /** Bytes of a serialized value; a larger one is not written. Default: 1 MiB. */
  readonly maximumPayloadBytes?: number | undefined
  /** Bytes from which on a value is compressed. Default: never. */
  readonly compressAboveBytes?: number | undefined
  /** Whether entries are encrypted. Default: false. They are authenticated in any case. */
  readonly encrypted?: boolean | undefined
  /** The clock, common to all nodes, by which locks expire. Default: the wall clock. */
  readonly clusterClock?: Pick<ClusterClock, 'now'> | undefined
}

interface Write {
  readonly key: SharedKey
  readonly entry: SharedEntry
  readonly ttlMs: number
}

interface EncodedWrite {
  readonly name: string
  readonly bytes: Buffer
  readonly ttlMs: number
}

/** L2 in Redis, or in Valkey. */
export class RedisTier implements SharedTier {
  readonly statistics = { hits: 0, misses: 0, rejected: 0, failures: 0 }
  readonly timeoutMs: number
  readonly #breaker: CircuitBreakerPolicy
  readonly #format: WireFormat
  readonly #locks: LoadLocks
  readonly #stored: BoundedReads
  readonly #reads = new PendingReads(
    (names) => this.#ask(() => this.#stored.readAll(names)),
    (name, bytes) => this.#read(name, bytes),
  )
  #refusals = 0

  /** @param redis must fail, not queue, while Redis is away, and give up a command after a time */
  constructor(
    private readonly redis: Redis,
    private readonly installation: Pick<Installation, 'namespace' | 'secret'>,
    private readonly logger: Logger,
    private readonly events: CacheEvents,
    options: RedisTierOptions = {},
  ) {
    this.timeoutMs = redis.options.commandTimeout ?? Number.POSITIVE_INFINITY
    this.#format = new WireFormat(installation, {
      serializer: options.serializer ?? new StructuredSerializer(),
      maximumPayloadBytes: options.maximumPayloadBytes ?? 1_048_576,
      compressAboveBytes: options.compressAboveBytes ?? Number.POSITIVE_INFINITY,
      encrypted: options.encrypted,
    })
    this.#stored = new BoundedReads(redis, this.#format.maximumBytes)
    this.#locks = new LoadLocks(redis, installation, options.clusterClock ?? { now: Date.now })
    this.#breaker = circuitBreaker(handleWhen(isOutage), {
      halfOpenAfter: openMs,
      breaker: new ConsecutiveBreaker(failuresToOpen),
    })
    this.#breaker.onBreak(() => {
      this.logger.warn('Redis does not answer: reads go on without L2')
      // A connection whose other end vanished stays "ready" until TCP gives up, a quarter of an hour later; and
      // what was sent over a hung one is kept until then.
      if (this.redis.status === 'ready') this.redis.disconnect(true)
    })
    this.#breaker.onStateChange((state) => {
      const told = breakerStates[state]
      if (told && this.events.wants('breaker')) this.events.emit('breaker', { state: told })
    })
  }

  get(key: SharedKey): Promise<SharedEntry | undefined> {
    return this.#isAskable() ? this.#reads.read(this.#nameOf(key)) : Promise.resolve(undefined)
  }

  async getMany(keys: readonly SharedKey[]): Promise<readonly (SharedEntry | undefined)[]> {
    const entries: (SharedEntry | undefined)[] = []
    for (const some of inChunks(keys, keysACommand)) {
      let names = some.map((key) => this.#nameOf(key))
      while (names.length > 0) {
        const found = (await this.#ask(() => this.#stored.read(names))) ?? names.map(() => undefined)
        const read = found.map((bytes, index) => bytes && this.#read(names[index] as string, bytes))
        for (const entry of await Promise.all(read)) entries.push(entry)
        names = names.slice(found.length)
      }
    }
    return entries
  }

  set(key: SharedKey, entry: SharedEntry, ttlMs: number): void {
    this.setMany([{ key, entry, ttlMs }])
  }

  setMany(writes: readonly Write[]): void {
    void this.#writeAll(writes.values())
  }

  forget(keys: readonly SharedKey[]): void {
    void this.#forgetAll(keys)
  }

  async lock(key: SharedKey, position: number, required: number, ttlMs: number): Promise<LoadLock> {
    const lock = this.#nameOf(key, 'lock')
    const taken = await this.#ask(() => this.#locks.take(lock, position, required, wholeMs(ttlMs)))
    return taken ?? lockOfNobody
  }

  #isAskable(): boolean {
    // One request finds out whether Redis is back; the breaker would have all others wait for it to know.
    return this.redis.status === 'ready' && this.#breaker.state !== CircuitState.HalfOpen
  }

  /** @returns undefined if Redis is away, or does not answer in time */
  async #ask<Answer>(command: () => Promise<Answer>): Promise<Answer | undefined> {
    if (!this.#isAskable()) return undefined
    try {
      return await this.#breaker.execute(command)
    } catch (error) {
      this.statistics.failures++
      if (error instanceof ReplyError) this.#refused(error as Error)
      return undefined
    }
  }

  /** Redis answered with an error, for instance because its memory is full. It may still answer the next command. */
  #refused({ message }: Error): void {
    const refusals = ++this.#refusals
    if (isWorthALine(refusals)) this.logger.warn({ reason: message, refusals }, 'Redis refused a command')
  }

  /**
   * The first pipeline is sent at once. So a hint about these values that is published next goes out after it, on the same
   * connection. A node that asks for one of the later values before it is stored loads it.
   */
  async #writeAll(writes: Iterator<Write, undefined>): Promise<void> {
    while (this.redis.status === 'ready') {
      const ready = this.#encodeSome(writes)
      if (ready.length === 0) return
      await this.#write(ready)
    }
  }

  /** The values of one pipeline. A value that has to be compressed first is sent by itself once that is done. */
  #encodeSome(writes: Iterator<Write, undefined>): EncodedWrite[] {
    const ready: EncodedWrite[] = []
    let sum = 0
    while (ready.length < keysACommand && sum < bytesAPipeline) {
      const { done, value: write } = writes.next()
      if (done) break
      const encoded = this.#encode(write)
      if (!encoded) continue
      const { name, bytes, ttlMs } = encoded
      if (Buffer.isBuffer(bytes)) {
        ready.push({ name, bytes, ttlMs })
        sum += bytes.length
      } else
        bytes.then(
          (compressed) => this.#write([{ name, bytes: compressed, ttlMs }]),
          () => this.statistics.failures++,
        )
    }
    return ready
  }

  async #forgetAll(keys: readonly SharedKey[]): Promise<void> {
    for (const some of inChunks(keys, keysACommand)) {
      await this.#ask(() => this.redis.unlink(some.map((key) => this.#nameOf(key))))
    }
  }

  async #write(writes: readonly EncodedWrite[]): Promise<void> {
    await this.#ask(async () => {
      // A pipeline of its own leaves now. What the client pipelines by itself waits until the event loop comes round, and
      // would be overtaken by the hint about it.
      const pipeline = this.redis.pipeline()
      for (const { name, bytes, ttlMs } of writes) pipeline.set(name, bytes, 'PX', wholeMs(ttlMs))
      const replies = await pipeline.exec()
      const failure = replies?.find(([error]) => error)?.[0]
      if (failure) throw failure
    })
  }

  #read(name: string, bytes: Buffer): SharedEntry | undefined | Promise<SharedEntry | undefined> {
    if (bytes.length === 0) {
      this.statistics.misses++
      return undefined
    }
    // Removed in the background of Redis, because overwriting a hash with millions of fields would block Redis for a long time.
    if (this.#stored.isOfOtherType(bytes)) void this.#ask(() => this.redis.unlink(name))
    const entry = this.#format.decode(name, bytes)
    return entry instanceof Promise ? entry.then((one) => this.#judge(one)) : this.#judge(entry)
  }

  #judge(entry: SharedEntry | undefined): SharedEntry | undefined {
    if (entry) this.statistics.hits++
    else {
      const rejected = ++this.statistics.rejected
      if (isWorthALine(rejected)) {
        this.logger.warn(
          { rejected },
          'an L2 entry was rejected: this service did not write it, or it is larger than this node’s limit',
        )
      }
    }
    return entry
  }

  #encode({ key, entry, ttlMs }: Write) {
    const name = this.#nameOf(key)
    try {
      return { name, bytes: this.#format.encode(name, entry), ttlMs }
    } catch (error) {
      // A value that L2 cannot carry lives in memory only; its reader has it already.
      const reason: NotStoredReason = error instanceof PayloadTooLargeError ? 'too-large' : 'not-serialisable'
      if (this.events.wants('notStored')) {
        const cache = key.cache.slice(0, key.cache.lastIndexOf('.'))
        this.events.emit('notStored', { cache, key: key.key, tier: 'l2', reason })
      }
      return undefined
    }
  }

  /** What comes before the epoch says what it is, so that no key of a cache can pass for a lock. */
  #nameOf({ epoch, cache, key }: SharedKey, kind: 'entry' | 'lock' = 'entry'): string {
    const mark = kind === 'entry' ? this.#format.mark : `lock-v${lockVersion}-${this.#format.mark}`
    return `${this.installation.namespace}:${mark}:${epoch}:${cache}:${key}`
  }
}

/** A time in the form that Redis accepts. It would refuse a command with a fraction or `Infinity`. */
function wholeMs(ms: number): number {
  return Math.min(Math.max(1, Math.ceil(ms)), Number.MAX_SAFE_INTEGER)
}

/**
 * Error replies which mean that Redis can answer nothing at present. Any other error is about one key or one command. It must
 * not open the breaker, because Redis still answers other commands.
 */
const cannotAnswer = /^(LOADING|BUSY|MASTERDOWN|CLUSTERDOWN|NOAUTH)\b/

function isOutage(error: Error): boolean {
  return !(error instanceof ReplyError) || cannotAnswer.test(error.message)
}

const breakerStates: Partial<Record<CircuitState, 'open' | 'half-open' | 'closed'>> = {
  [CircuitState.Open]: 'open',
  [CircuitState.HalfOpen]: 'half-open',
  [CircuitState.Closed]: 'closed',
}
