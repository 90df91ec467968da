import { Redis } from 'ioredis'
import type { Clock } from '../clock.js'
import type { Logger } from '../observability/logger.js'
import type { EncodedHint, Hint, HintCodec } from './hint.js'
import type { HintChannel, HintListener } from './hint-channel.js'
import { HintQueue } from './hint-queue.js'

/** Milliseconds between two pings. Without them a broken connection looks like one on which nothing is published. */
const pingIntervalMs = 2_000

/** How many of its own hints a node remembers until it receives them. A full batch has 8. */
const mostSent = 64

/** Hints through Redis Pub/Sub. It listens on a connection of its own, because a subscribed connection cannot publish. */
export class RedisHints implements HintChannel {
  readonly #subscriber: Redis
  readonly #pending = new Set<Promise<unknown>>()
  readonly #stop = new AbortController()
  #pings: Promise<void> | undefined
  /** The newest hints that this node sent. It receives them like all subscribers, but need not verify or parse them. */
  #sent: EncodedHint[] = []
  #queue: HintQueue | undefined

  /** @param publisher shared with L2 and closed by its owner. While Redis is away it must fail, and not queue */
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
      // Checked before it is decoded as text or takes up room in the queue.
      if (message.length > this.codec.longestBytes) listener.rejected('it is longer than any hint')
      else queue.push(message.toString())
    })
    this.#subscriber.on('ready', () => {
      // Hints that were published while the connection was away are lost, and Redis does not say how many. The check is asked
      // for after the subscription is active, so that no hint can be lost between the two.
      this.#subscriber.subscribe(this.codec.channel).then(
        () => {
          this.#sent = []
          listener.reconnected()
        },
        (error: unknown) => {
          this.logger.debug({ err: error }, 'subscribing to hints failed')
          // A new connection tries again. Otherwise the node would hear no more hints.
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
    // The queue stops first, because a connection that is closing may still deliver something.
    this.#queue?.stop()
    this.#subscriber.disconnect()
  }

  #publish(encoded: EncodedHint): void {
    // While this node is not connected it will not receive the hint.
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
      // The signature is valid, but the content is not: another release may have sent it.
    }
    if (hint) listener.hint(hint)
    else listener.rejected('its signature does not match, or its format is unknown here')
  }

  /** Redis keeps the order of one connection, so hints sent before this one have been received or never will be. */
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

  /** A pulled cable sends no FIN. Without this, a node would not hear or send hints until TCP gives up. */
  async #reconnectIfSilent(connection: Redis): Promise<void> {
    if (connection.status !== 'ready' || this.#stop.signal.aborted) return
    try {
      await connection.ping()
    } catch {
      if (!this.#stop.signal.aborted && connection.status === 'ready') connection.disconnect(true)
    }
  }
}
