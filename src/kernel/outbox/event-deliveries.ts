import type { EntityManager } from 'typeorm'
import type { Connections } from '../persistence/connections.js'

/** An event for one handler, claimed by this node. */
export interface Delivery {
  readonly handler: string
  readonly position: number
  readonly payload: unknown
  /** 1 for the first attempt. A claim can be completed only while this is still the latest attempt. */
  readonly attempt: number
}

/** The deliveries of events that a handler's cursor has passed. */
export interface NextDeliveries {
  /** In ascending order, all at their first attempt. */
  readonly deliveries: readonly Delivery[]
  /** Whether there are more events behind these. */
  readonly behind: boolean
}

/** The state of the durable event handlers: a record for each event and handler, and a cursor for each handler. */
export class EventDeliveries {
  constructor(private readonly connections: Connections) {}

  /**
   * Registers handlers. A new handler starts with the first event after the present head, and not with older events: a new
   * handler that welcomes users should not welcome every old user.
   */
  register(handlers: readonly string[]): Promise<void> {
    return this.#run(async (manager) => {
      await manager.query(
        `insert into aftercommit_kernel.event_handler (name, position)
         select name, h.position from unnest($1::text[]) as name, aftercommit_kernel.journal_head h
         on conflict do nothing`,
        [handlers],
      )
    })
  }

  /**
   * Moves the handler's cursor forward, and creates deliveries for the handler's events that it passes. It is one statement,
   * and the deliveries are already claimed by this node, with the attempt counted.
   *
   * Nodes that do this at the same time wait for each other, for a short time. A statement that has waited sees the new
   * cursor, but everything else as it was before the wait. It moves the cursor only as far as it sees the journal, and
   * positions have no gaps, so no event is skipped. The cursor is a subquery in the conditions on events, so that Postgres uses an index.
   * As a join it read the whole journal for each claim.
   *
   * @param scanned how many positions the cursor passes at most, as most events may be of other types
   */
  async claimNext(
    handler: string,
    eventType: string,
    atMost: number,
    scanned: number,
    claimMs: number,
  ): Promise<NextDeliveries> {
    const rows: { behind: boolean; position: string | null; payload: unknown }[] = await this.#run(
      (manager) =>
        manager.query(
          `with cursor as (
           select name, position from aftercommit_kernel.event_handler where name = $1 for update
         ), next as (
           select m.position, m.payload from aftercommit_kernel.outbox_message m
           where m.position > (select position from cursor)
             and m.position <= (select position from cursor) + $4::bigint and m.type = $2
           order by m.position limit $3
         ), reach as (
           select case when (select count(*) from next) = $3::bigint then (select max(position) from next)
                       else least(c.position + $4::bigint, h.position) end as position,
                  h.position as head
           from cursor c, aftercommit_kernel.journal_head h
         ), moved as (
           update aftercommit_kernel.event_handler h set position = reach.position
           from reach where h.name = $1 and h.position < reach.position
           returning reach.position < reach.head as behind
         ), claimed as (
           insert into aftercommit_kernel.event_delivery (handler, position, attempts, next_attempt_at)
           select $1, n.position, 1, clock_timestamp() + make_interval(secs => $5::float8 / 1000)
           from next n order by n.position
           on conflict do nothing
           returning position
         )
         select moved.behind, n.position, n.payload
         from moved left join (next n join claimed using (position)) on true
         order by n.position`,
          [handler, eventType, atMost, scanned, claimMs],
        ),
    )
    const deliveries = rows
      .filter(({ position }) => position !== null)
      .map(({ position, payload }) => ({ handler, position: Number(position), payload, attempt: 1 }))
    return { deliveries, behind: rows[0]?.behind ?? false }
  }

  /**
   * Claims deliveries that are due, first those that have been due for longest. The attempt is counted and committed at once,
   * so that an event that kills the process runs out of attempts like one whose handler throws. After `claimMs` any node can
   * claim a delivery that was not completed.
   *
   * @param kind `new` for deliveries that were given back and never tried, `retried` for others. Claim the latter one at a
   *   time: with an event that kills the process, the others of its batch would use up their attempts without being handled
   */
  claim(handler: string, kind: 'new' | 'retried', atMost: number, claimMs: number): Promise<Delivery[]> {
    return this.#run(async (manager) => {
      const rows: { position: string; attempts: number; payload: unknown }[] = (
        await manager.query(
          `update aftercommit_kernel.event_delivery d
           set attempts = d.attempts + 1, next_attempt_at = clock_timestamp() + make_interval(secs => $3::float8 / 1000)
           from (
             select position from aftercommit_kernel.event_delivery
             where handler = $1 and state = 'pending' and next_attempt_at <= clock_timestamp()
               and (attempts > 0) = $4
             order by next_attempt_at limit $2 for update skip locked
           ) due
           join aftercommit_kernel.outbox_message m on m.position = due.position
           where d.handler = $1 and d.position = due.position
           returning d.position, d.attempts, m.payload`,
          [handler, atMost, claimMs, kind === 'retried'],
        )
      )[0]
      return rows
        .map(({ position, attempts, payload }) => ({
          handler,
          position: Number(position),
          payload,
          attempt: attempts,
        }))
        .sort((a, b) => a.position - b.position)
    })
  }

  /**
   * Marks deliveries of one handler as done, in the handler's own transaction. All must be at the same attempt.
   *
   * @returns false if another node has claimed one of them meanwhile; then the transaction must roll back
   */
  async complete(manager: EntityManager, deliveries: readonly Delivery[]): Promise<boolean> {
    const [first] = deliveries
    if (!first) return true
    const [, affected] = await manager.query(
      `update aftercommit_kernel.event_delivery set state = 'done', finished_at = clock_timestamp(), last_error = null
       where handler = $1 and position = any($2::bigint[]) and attempts = $3 and state = 'pending'`,
      [first.handler, deliveries.map(({ position }) => position), first.attempt],
    )
    return affected === deliveries.length
  }

  /** Gives back claims that were not run. They are due again at once, and the attempt does not count. */
  release(handler: string, deliveries: readonly Delivery[]): Promise<void> {
    return this.#run(async (manager) => {
      await manager.query(
        `update aftercommit_kernel.event_delivery d
         set attempts = d.attempts - 1, next_attempt_at = clock_timestamp()
         from unnest($2::bigint[], $3::integer[]) as claimed (position, attempt)
         where d.handler = $1 and d.position = claimed.position and d.attempts = claimed.attempt
           and d.state = 'pending'`,
        [handler, deliveries.map(({ position }) => position), deliveries.map(({ attempt }) => attempt)],
      )
    })
  }

  /** Records a failed attempt. The delivery is due again in `retryMs`, or becomes a dead letter if that is undefined. */
  fail(delivery: Delivery, error: string, retryMs: number | undefined): Promise<void> {
    return this.#run(async (manager) => {
      await manager.query(
        `update aftercommit_kernel.event_delivery
         set last_error = left($4, 2000),
             state = case when $5::float8 is null then 'dead' else 'pending' end,
             finished_at = case when $5::float8 is null then clock_timestamp() end,
             next_attempt_at = clock_timestamp() + make_interval(secs => coalesce($5::float8, 0) / 1000)
         where handler = $1 and position = $2 and attempts = $3 and state = 'pending'`,
        [delivery.handler, delivery.position, delivery.attempt, error, retryMs ?? null],
      )
    })
  }

  #run<Result>(work: (manager: EntityManager) => Promise<Result>): Promise<Result> {
    return this.connections.borrow((runner) => work(runner.manager))
  }
}
