import pg from 'pg'
import type { Clock } from '../clock.js'
import type { Logger } from '../observability/logger.js'
import type { HintChannel, HintListener } from './hint-channel.js'
import type { Installation } from './installation.js'
import { Mac } from './mac.js'

/** Milliseconds between two attempts to listen, and between two pings of the connection. */
const retryMs = 500
const pingIntervalMs = 2_000

/**
 * The name of the channel, derived from the installation's secret. Any role that can connect to the database can listen and
 * notify there. If it knew the name, it could make every node run one check after the other.
 */
export function notifyChannelOf(installation: Pick<Installation, 'secret'>): string {
  const mac = new Mac(installation).of('NOTIFY', 0, (_, start) => start, 'hex')
  return `aftercommit_${mac.slice(0, 32)}`
}

/**
 * Hints without Redis: the numbering transaction itself sends `NOTIFY` with epoch and head. The connection must be direct:
 * with PgBouncer in transaction mode in between, LISTEN receives nothing.
 */
export class NotifyHints implements HintChannel {
  readonly #stop = new AbortController()
  #loop: Promise<void> | undefined

  constructor(
    private readonly databaseUrl: string,
    private readonly channel: () => string,
    private readonly clock: Clock,
    private readonly logger: Logger,
  ) {}

  async start(listener: HintListener): Promise<void> {
    this.#loop = this.#listen(listener)
  }

  /** Does nothing: the numbering call has sent `NOTIFY` in the transaction that gave the positions. */
  publish(): void {}

  async stop(): Promise<void> {
    this.#stop.abort()
    await this.#loop
  }

  async #listen(listener: HintListener): Promise<void> {
    const { signal } = this.#stop
    while (!signal.aborted) {
      const client = new pg.Client({
        connectionString: this.databaseUrl,
        application_name: 'aftercommit listener',
        connectionTimeoutMillis: 2_000,
        query_timeout: pingIntervalMs,
        keepAlive: true,
      })
      client.on('error', (error) => this.logger.debug({ err: error }, 'the listener’s connection broke'))
      // A connection that has ended is replaced at once, not at its next ping.
      const ended = new AbortController()
      client.on('end', () => ended.abort())
      const over = AbortSignal.any([signal, ended.signal])
      client.on('notification', (message) => receive(message.payload ?? '', listener))
      try {
        await client.connect()
        await client.query(`listen ${client.escapeIdentifier(this.channel())}`)
        listener.reconnected()
        while (!over.aborted) {
          await this.clock.sleep(pingIntervalMs, over)
          if (!over.aborted) await client.query('select 1')
        }
      } catch (error) {
        if (!signal.aborted) this.logger.debug({ err: error }, 'listening for hints failed, trying again')
      }
      // Not awaited, because a connection that has gone silent would not answer this, either.
      client.end().catch(() => {})
      await this.clock.sleep(retryMs, signal)
    }
  }
}

function receive(payload: string, listener: HintListener): void {
  const match = /^([0-9a-f]{16}) ([1-9]\d{0,15})$/.exec(payload)
  if (match) listener.hint({ epoch: match[1] as string, head: Number(match[2]), messages: [] })
  else listener.rejected('it is not an epoch and a head')
}
