import type { EntityManager } from 'typeorm'
import { type DomainEvent, nameOf } from '../domain/domain-event.js'

/**
 * The statement that inserts events into the outbox, in the given order. `outboxParameters` makes its two parameters. The
 * events get their positions later, with or after COMMIT.
 *
 * @param first the number of the first parameter
 * @param condition a WHERE clause that must hold, or nothing is inserted
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

/** Inserts events into the outbox, in the manager's transaction and savepoint. */
export async function insertOutboxMessages(
  manager: EntityManager,
  events: readonly DomainEvent[],
): Promise<void> {
  if (events.length === 0) return
  await manager.query(insertSql, outboxParameters(events))
}
