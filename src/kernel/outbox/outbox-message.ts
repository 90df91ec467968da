import type { EntityManager } from 'typeorm'
import { type DomainEvent, nameOf } from '../domain/domain-event.js'

/**
 * The INSERT of events into the outbox, in the order given; its two parameters are what `outboxParameters` makes of
 * them. They have no position yet: that is given with COMMIT or after it, by a call that can see them.
 *
 * @param first number of the first parameter
 * @param condition what has to hold for any of them to be inserted
 */
export function outboxInsert(first = 1, condition = ''): string {
  return `insert into aftercommit_kernel.outbox_message (type, payload)
     select m.type, m.payload::jsonb
     from unnest($${first}::text[], $${first + 1}::text[]) with ordinality as m (type, payload, place)
     ${condition} order by m.place`
}

export function outboxParameters(events: readonly DomainEvent[]): [types: string[], payloads: string[]] {
  return [events.map(nameOf), events.map((event) => JSON.stringify(event.payload))]
}

const insertSql = outboxInsert()

/** Puts events into the outbox, in the manager's transaction and savepoint. */
export async function insertOutboxMessages(
  manager: EntityManager,
  events: readonly DomainEvent[],
): Promise<void> {
  if (events.length === 0) return
  await manager.query(insertSql, outboxParameters(events))
}
