import { Redis } from 'ioredis'
import type { Clock } from '../clock.js'
import type { Logger } from '../observability/logger.js'
import type { Hint, HintCodec } from './hint.js'
import type { HintChannel, HintListener } from './hint-channel.js'

/** How often, in ms, a subscriber asks whether its connection still lives: silence looks the same either way. */
const pingIntervalMs = 2_000

/** Hints over Redis Pub/Sub, on a connection of its own, as a subscribed one cannot publish. */
export class RedisHints implements HintChannel {
  readonly #subscriber: Redis
  readonly #pending = new Set<Promise<unknown>>()
  readonly #stop = new AbortController()
  #pings: Promise<void> | undefined
  /** The newest from here. Heard as well, as by all who are subscribed, it need be neither verified nor read again. */
  #sent: { readonly text: string; readonly hint: Hint } | undefined

  /** @param publisher shared with L2 and closed by its owner; must fail, not queue, while Redis is away */
  constructor(
    private readonly publisher: Redis,
    private readonly codec: HintCodec,
    private readonly clock: Clock,
    private readonly logger: Logger,
  ) {
    this.#subscriber = publisher.duplicate({ lazyConnect: true, autoResubscribe: false })
  }

  async start(listener: HintListener): Promise<void> {
    this.#subscriber.on('error', (error) =>
      this.logger.debug({ err: error }, 'the subscriber’s connection broke'),
    )
    this.#subscriber.on('message', (_channel, text) => this.#receive(text, listener))
    this.#subscriber.on('ready', () => {
      // What was published while the connection was away is lost, and nothing in Redis tells how much.
      // Asking only once the subscription stands leaves no window between the two.
      this.#subscriber.subscribe(this.codec.channel).then(
        () => listener.reconnected(),
        (error: unknown) => {
          this.logger.debug({ err: error }, 'subscribing to hints failed')
          // Tried again with the next connection: left as it is, the node would stay deaf.
          if (!this.#stop.signal.aborted) this.#subscriber.disconnect(true)
        },
      )
    })
    this.#subscriber.connect().catch(() => {})
    this.#pings = this.#ping()
  }

  publish(hint: Hint): void {
    if (this.publisher.status !== 'ready') return
    const text = this.codec.encode(hint)
    this.#sent = { text, hint }
    const published = this.publisher
      .publish(this.codec.channel, text)
      .catch((error: unknown) => this.logger.debug({ err: error }, 'a hint was lost'))
      .finally(() => this.#pending.delete(published))
    this.#pending.add(published)
  }

  async stop(): Promise<void> {
    this.#stop.abort()
    await this.#pings
    await Promise.all(this.#pending)
    this.#subscriber.disconnect()
  }

  #receive(text: string, listener: HintListener): void {
    let hint: Hint | undefined
    try {
      hint = text === this.#sent?.text ? this.#sent.hint : this.codec.decode(text)
    } catch {
      // Signed by us, yet not ours to read: a newer version's format.
    }
    if (hint) listener.hint(hint)
    else listener.rejected('the signature does not match, or its format is not known here')
  }

  async #ping(): Promise<void> {
    const { signal } = this.#stop
    while (!signal.aborted) {
      await this.clock.sleep(pingIntervalMs, signal)
      await Promise.all([this.#reconnectIfSilent(this.#subscriber), this.#reconnectIfSilent(this.publisher)])
    }
  }

  /** A cable that was pulled sends no FIN: without this a node would stay deaf, or mute, until TCP gives up. */
  async #reconnectIfSilent(connection: Redis): Promise<void> {
    if (connection.status !== 'ready' || this.#stop.signal.aborted) return
    try {
      await connection.ping()
    } catch {
      if (!this.#stop.signal.aborted && connection.status === 'ready') connection.disconnect(true)
    }
  }
}
