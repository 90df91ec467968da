import { setTimeout as sleep } from 'node:timers/promises'
import { Redis } from 'ioredis'
import type { Message, MessageProvider, TopicHandler } from 'qified'
import type { Wrappers } from '../../src/container.js'
import type { Hint } from '../../src/kernel/journal/hint.js'
import type { HintChannel } from '../../src/kernel/journal/hint-channel.js'
import type { Entrant, EntrantSettings } from '../entrant.js'
import { type Member, openMembers, sharedClock } from '../members.js'
import { latencies } from '../statistics.js'
import { Arrivals, pacing, type Sending } from './pacing.js'
import { addressOf } from './stampede.js'

// Caches, and the service, are loaded where they are used: a process that has to load all of them starts slowly.

const channel = 'bench-raw'
const ttl = 3_600_000

/**
 * Two processes: what the one sends, evenly paced, has its effect in the other.
 * Settings: `sender` and `receiver` are exports of `module`; `perSecond`, `seconds`.
 */
export async function openPair(settings: EntrantSettings): Promise<Entrant> {
  const { sender, receiver, module } = settings
  const [receiving, sending] = await openPairOf(String(receiver), String(sender), String(module), settings)
  const count = Math.ceil(Number(settings.perSecond) * (settings.quick ? 1 : Number(settings.seconds)))
  return {
    async round() {
      const sent = (await sending.call('send', count)) as Sending
      const arrived = new Map((await receiving.call('collect', count)) as Sending)
      return latencies(sent.map(([id, at]) => (arrived.get(id) ?? Number.NaN) - at))
    },
    async close() {
      await Promise.all([receiving.close(), sending.close()])
    },
  }
}

/** The receiver first, or what is sent early would find nobody. */
async function openPairOf(receiver: string, sender: string, module: string, settings: EntrantSettings) {
  const [receiving] = await openMembers([receiver], module, settings)
  const [sending] = await openMembers([sender], module, settings)
  if (!receiving || !sending) throw new Error('A pair has two members')
  return [receiving, sending] as const
}

/**
 * Raw messages from a node that writes and numbers like ours: without that the limit would have the machine for itself,
 * while ours shares it with Postgres.
 */
export async function openRawPublisher(settings: EntrantSettings): Promise<Member> {
  const redis = new Redis(settings.redisUrl)
  // As long as a hint with one event.
  const filler = 'x'.repeat(250)
  return publishing(settings, (_own, _hint, ids) => {
    for (const id of ids) void redis.publish(channel, `${id} ${filler}`)
  })
}

export async function openRawSubscriber({ redisUrl }: EntrantSettings): Promise<Member> {
  const redis = new Redis(redisUrl)
  const arrivals = new Arrivals()
  redis.on('message', (_channel: string, text: string) => arrivals.add(text.slice(0, text.indexOf(' '))))
  await redis.subscribe(channel)
  return arrivals.member
}

export async function openOurPublisher(settings: EntrantSettings): Promise<Member> {
  return publishing(settings, (own, hint) => own.publish(hint))
}

/** Real writes; the clock starts as the dispatcher hands the hint of each to its channel. */
async function publishing(
  settings: EntrantSettings,
  publish: (own: HintChannel, hint: Hint, ids: readonly string[]) => void,
): Promise<Member> {
  const written = new Map<string, (id: string, at: number) => void>()
  const watched = (own: HintChannel): HintChannel => ({
    start: (listener) => own.start(listener),
    stop: () => own.stop(),
    publish: (hint) => {
      const at = sharedClock()
      const ids = hint.messages.flatMap(({ payload }) => idsIn(payload))
      for (const id of ids) written.get(id)?.(id, at)
      publish(own, hint, ids)
    },
  })
  const { write } = await ourNode(settings, { hints: watched })
  return pacing(settings, async (id, sent) => {
    written.set(id, sent)
    await (await write(id)).dispatched
    written.delete(id)
  })
}

/** Real writes; the clock starts as COMMIT has been answered. */
export async function openOurWriter(settings: EntrantSettings): Promise<Member> {
  const { write } = await ourNode(settings)
  return pacing(settings, async (id, sent) => {
    const { dispatched } = await write(id)
    sent(id)
    await dispatched
  })
}

export async function openOurReceiver(settings: EntrantSettings): Promise<Member> {
  const { applied } = await ourNode(settings)
  const arrivals = new Arrivals()
  // Told right before the effect, which is synchronous: a microtask later it has been applied.
  applied.onMessage(({ payload }) =>
    queueMicrotask(() => {
      for (const id of idsIn(payload)) arrivals.add(id)
    }),
  )
  return arrivals.member
}

export async function openLayeredLoaderSender(settings: EntrantSettings): Promise<Member> {
  const loader = await layeredLoader(settings.redisUrl)
  return pacing(settings, async (id, sent) => {
    sent(id)
    await loader.invalidateCacheFor(id)
  })
}

export async function openLayeredLoaderReceiver({ redisUrl }: EntrantSettings): Promise<Member> {
  const arrivals = new Arrivals()
  await layeredLoader(redisUrl, (target) => {
    const remove = target.delete.bind(target)
    target.delete = (key) => {
      remove(key)
      arrivals.add(key)
    }
  })
  return arrivals.member
}

interface Evicting {
  delete(key: string): void
}

async function layeredLoader(redisUrl: string, observe: (target: Evicting) => void = () => {}) {
  const { createNotificationPair, Loader } = await import('layered-loader')
  const { publisher, consumer } = createNotificationPair<object>({
    channel: 'bench-layered-loader',
    consumerRedis: new Redis(redisUrl),
    publisherRedis: new Redis(redisUrl),
  })
  const setTarget = consumer.setTargetCache.bind(consumer)
  consumer.setTargetCache = (target) => {
    observe(target)
    setTarget(target)
  }
  const loader = new Loader<object>({
    inMemoryCache: { ttlInMsecs: ttl },
    notificationConsumer: consumer,
    notificationPublisher: publisher,
  })
  await loader.init()
  return loader
}

export async function openBentoCacheSender(settings: EntrantSettings): Promise<Member> {
  const bento = await bentoCache(settings.redisUrl)
  return pacing(settings, async (id, sent) => {
    sent(id)
    await bento.delete({ key: id })
  })
}

export async function openBentoCacheReceiver({ redisUrl }: EntrantSettings): Promise<Member> {
  const arrivals = new Arrivals()
  const bento = await bentoCache(redisUrl)
  // It subscribes at its first use, and does not say when it has.
  await bento.get({ key: 'first' })
  const redis = new Redis(redisUrl)
  while ((await redis.pubsub('NUMSUB', 'bentocache.notifications:items'))[1] === 0) await sleep(5)
  await redis.quit()
  // Told right before it evicts, in the same turn.
  bento.on('bus:message:received', ({ message }) =>
    queueMicrotask(() => {
      for (const key of message.keys) arrivals.add(key)
    }),
  )
  return arrivals.member
}

async function bentoCache(redisUrl: string) {
  const { BentoCache, bentostore } = await import('bentocache')
  const { memoryDriver } = await import('bentocache/drivers/memory')
  const { redisBusDriver } = await import('bentocache/drivers/redis')
  return new BentoCache({
    default: 'items',
    stores: {
      items: bentostore()
        .useL1Layer(memoryDriver({ maxItems: 100_000 }))
        .useBus(redisBusDriver({ connection: addressOf(redisUrl) })),
    },
  })
}

export async function openCacheableSender(settings: EntrantSettings): Promise<Member> {
  const { Cacheable } = await import('cacheable')
  const cache = new Cacheable({ ttl, sync: { qified: new RedisMessages(settings.redisUrl) } })
  return pacing(settings, async (id, sent) => {
    sent(id)
    await cache.delete(id)
  })
}

export async function openCacheableReceiver({ redisUrl }: EntrantSettings): Promise<Member> {
  const arrivals = new Arrivals()
  const { Cacheable } = await import('cacheable')
  const cache = new Cacheable({ ttl, sync: { qified: new RedisMessages(redisUrl) } })
  const remove = cache.primary.delete.bind(cache.primary)
  cache.primary.delete = async (key: string | string[]) => {
    const removed = await remove(key as string)
    arrivals.add(String(key))
    return removed
  }
  return arrivals.member
}

/** Messages of cacheable over ioredis, as all others here have them. */
class RedisMessages implements MessageProvider {
  readonly id = 'ioredis'
  readonly subscriptions = new Map<string, TopicHandler[]>()
  readonly #publisher: Redis
  readonly #subscriber: Redis

  constructor(redisUrl: string) {
    this.#publisher = new Redis(redisUrl)
    this.#subscriber = new Redis(redisUrl)
    this.#subscriber.on('message', (topic: string, text: string) => {
      const message: Message = { ...JSON.parse(text), providerId: this.id }
      for (const { handler } of this.subscriptions.get(topic) ?? []) void handler(message)
    })
  }

  async publish(topic: string, message: Omit<Message, 'providerId'>): Promise<void> {
    await this.#publisher.publish(topic, JSON.stringify(message))
  }

  async subscribe(topic: string, handler: TopicHandler): Promise<void> {
    this.subscriptions.set(topic, [...(this.subscriptions.get(topic) ?? []), handler])
    await this.#subscriber.subscribe(topic)
  }

  async unsubscribe(topic: string): Promise<void> {
    this.subscriptions.delete(topic)
    await this.#subscriber.unsubscribe(topic)
  }

  async disconnect(): Promise<void> {
    this.#publisher.disconnect()
    this.#subscriber.disconnect()
  }
}

async function ourNode(settings: EntrantSettings, wrappers: Wrappers = {}) {
  const { startBenchNode } = await import('../service/bench-node.js')
  const { ItemsChanged } = await import('../service/bench-module.js')
  const { parts } = await startBenchNode(settings, { wrappers })
  const { outbox, unitOfWork, dispatcher, applied } = parts
  /** Committed when it resolves, and on its way as from a command. */
  const write = async (id: string) => {
    const committed = await unitOfWork.run(() => outbox.write([new ItemsChanged({ keys: [id], tags: [] })]))
    // One that fails, on a machine that stalls for seconds, is made up for by the next check, as in production.
    return { dispatched: dispatcher.afterCommit(committed).catch(() => {}) }
  }
  return { write, applied }
}

function idsIn(payload: unknown): readonly string[] {
  return (payload as { readonly keys?: readonly string[] }).keys ?? []
}
