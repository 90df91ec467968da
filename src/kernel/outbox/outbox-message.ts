import type { EntityManager } from 'typeorm'
import { type DomainEvent, nameOf } from '../domain/domain-event.js'

/**
 * Puts events into the outbox, in the manager's transaction and savepoint, in the order given. They have no
 * position yet: that is given after COMMIT, by a call that can see them.
 */
export async function insertOutboxMessages(
  manager: EntityManager,
  events: readonly DomainEvent[],
): Promise<void> {
  if (events.length === 0) return
  await manager.query(
    `insert into aftercommit_kernel.outbox_message (type, payload)
     select m.type, m.payload::jsonb
     from unnest($1::text[], $2::text[]) with ordinality as m (type, payload, place) order by m.place`,
    [events.map(nameOf), events.map((event) => JSON.stringify(event.payload))],
  )
}
