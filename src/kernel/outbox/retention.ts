import type { Clock } from '../clock.js'
import type { Logger } from '../observability/logger.js'
import type { Connections } from '../persistence/connections.js'

/** Rows deleted by one statement, and ms between two rounds. */
const batchSize = 1_000
const roundMs = 60_000

/**
 * Deletes events that every node has had time to apply and every handler has handled. In the order of their
 * positions, which is that of their numbering, so that `numbered_at` needs no index. By when they were numbered, not when they occurred: a transaction may have stayed open for long. What has no position, an
 * unfinished delivery or a dead letter stays. A handler that no node has run for longer than the retention
 * misses what was deleted meanwhile.
 */
export class Retention {
  readonly #stop = new AbortController()
  #loop: Promise<void> | undefined

  /** @param retentionMs ms that an event is kept after it was numbered */
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
   * @returns how many events
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
      // Of handlers that were so far behind that they claimed an event in the moment of its deletion.
      await runner.query(
        `delete from aftercommit_kernel.event_delivery
         where position < (select min(position) from aftercommit_kernel.outbox_message)`,
      )
      return (row as { count: number }).count
    })
  }
}
