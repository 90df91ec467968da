import type { Clock } from '../clock.js'
import type { Logger } from '../observability/logger.js'
import type { Connections } from '../persistence/connections.js'

/** The most events that one statement deletes, and the average ms between two rounds. */
const batchSize = 1_000
const roundMs = 60_000

/**
 * Deletes old events with their deliveries, so that the outbox does not grow for ever. Every node has had time to apply them.
 *
 * The age counts from the numbering of an event, because its transaction may have been open for long. Events are deleted in
 * the order of their positions, which is the order of numbering, so `numbered_at` needs no index. Events without a position,
 * with an unfinished delivery, or with a dead letter stay. A handler whose cursor is behind by more than the retention time
 * misses what was deleted.
 */
export class Retention {
  readonly #stop = new AbortController()
  #loop: Promise<void> | undefined

  /** @param retentionMs how long an event is kept after it was numbered, in ms */
  constructor(
    private readonly connections: Connections,
    private readonly retentionMs: number,
    private readonly clock: Clock,
    private readonly logger: Logger,
  ) {}

  start(): void {
    this.#loop = this.#run()
  }

  async stop(): Promise<void> {
    this.#stop.abort()
    await this.#loop
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop
    while (!signal.aborted) {
      await this.clock.sleep(roundMs * (0.5 + Math.random()), signal)
      try {
        while (!signal.aborted && (await this.deleteBatch()) === batchSize);
      } catch (error) {
        this.logger.warn({ err: error }, 'old events could not be deleted; trying again later')
      }
    }
  }

  /**
   * Deletes at most 1,000 old events with their deliveries.
   *
   * @returns how many events it has deleted
   */
  async deleteBatch(): Promise<number> {
    return this.connections.borrow(async (runner) => {
      const [row] = await runner.query(
        `with oldest as (
           select m.position from aftercommit_kernel.outbox_message m
           where m.position is not null
             and not exists (select from aftercommit_kernel.event_delivery d
                             where d.position = m.position and d.state <> 'done')
           order by m.position limit $2
         ), old as (
           select m.position from oldest join aftercommit_kernel.outbox_message m using (position)
           where m.numbered_at < clock_timestamp() - make_interval(secs => $1::float8 / 1000)
           for update of m skip locked
         ), deliveries as (
           delete from aftercommit_kernel.event_delivery d using old where d.position = old.position
         ), deleted as (
           delete from aftercommit_kernel.outbox_message m using old where m.position = old.position returning 1
         )
         select count(*)::integer as count from deleted`,
        [this.retentionMs, batchSize],
      )
      // A handler that is far behind may claim an event at the moment of its deletion, which leaves a delivery without event.
      await runner.query(
        `delete from aftercommit_kernel.event_delivery
         where position < (select min(position) from aftercommit_kernel.outbox_message)`,
      )
      return (row as { count: number }).count
    })
  }
}
