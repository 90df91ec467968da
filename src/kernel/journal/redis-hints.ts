import { Redis } from 'ioredis'
import type { Clock } from '../clock.js'
import type { Logger } from '../observability/logger.js'
import type { EncodedHint, Hint, HintCodec } from './hint.js'
import type { HintChannel, HintListener } from './hint-channel.js'
import { HintQueue } from './hint-queue.js'

/** How often, in ms, a subscriber asks whether its connection still lives: silence looks the same either way. */
const pingIntervalMs = 2_000

/** Hints from here that are remembered until they are heard; a full batch has 8. */
const mostSent = 64

/** Hints over Redis Pub/Sub, on a connection of its own, as a subscribed one cannot publish. */
export class RedisHints implements HintChannel {
  readonly #subscriber: Redis
  readonly #pending = new Set<Promise<unknown>>()
  readonly #stop = new AbortController()
  #pings: Promise<void> | undefined
  /** The newest from here. Heard as well, as by all who are subscribed, they need be neither verified nor read again. */
  #sent: EncodedHint[] = []
  #queue: HintQueue | undefined

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
    const queue = new HintQueue(
      (text) => this.#receive(text, listener),
      () => listener.lost(),
      this.clock,
    )
    this.#queue = queue
    this.#subscriber.on('messageBuffer', (_channel: Buffer, message: Buffer) => {
      // Before it is read as text, or takes the place of a hint that waits.
      if (message.length > this.codec.longestBytes) listener.rejected('it is longer than any hint')
      else queue.push(message.toString())
    })
    this.#subscriber.on('ready', () => {
      // What was published while the connection was away is lost, and nothing in Redis tells how much.
      // Asking only once the subscription stands leaves no window between the two.
      this.#subscriber.subscribe(this.codec.channel).then(
        () => {
          this.#sent = []
          listener.reconnected()
        },
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
    for (const encoded of this.codec.encode(hint)) this.#publish(encoded)
  }

  async stop(): Promise<void> {
    this.#stop.abort()
    await this.#pings
    await Promise.all(this.#pending)
    // First, as a connection that is closing may still bring something.
    this.#queue?.stop()
    this.#subscriber.disconnect()
  }

  #publish(encoded: EncodedHint): void {
    // Whoever does not listen will not hear it.
    if (this.#subscriber.status === 'ready') this.#sent.push(encoded)
    if (this.#sent.length > mostSent) this.#sent.shift()
    const published = this.publisher
      .publish(this.codec.channel, encoded.text)
      .catch((error: unknown) => this.logger.debug({ err: error }, 'a hint was lost'))
      .finally(() => this.#pending.delete(published))
    this.#pending.add(published)
  }

  #receive(text: string, listener: HintListener): void {
    let hint: Hint | undefined
    try {
      hint = this.#takeSent(text) ?? this.codec.decode(text)
    } catch {
      // Signed by us, yet not ours to read: a newer version's format.
    }
    if (hint) listener.hint(hint)
    else listener.rejected('the signature does not match, or its format is not known here')
  }

  /** Redis keeps the order of what one connection publishes: what was sent before has been heard, or will not be. */
  #takeSent(text: string): Hint | undefined {
    const index = this.#sent.findIndex((sent) => sent.text === text)
    return index < 0 ? undefined : this.#sent.splice(0, index + 1)[index]?.hint
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
