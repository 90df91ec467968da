import { type EventHandler, eventHandler } from '../../src/kernel/cqrs/handlers.js'
import type { Entrant, EntrantSettings } from '../entrant.js'
import { benchModule, ItemsChanged } from '../service/bench-module.js'
import { startBenchNode } from '../service/bench-node.js'
import { backlogOf, openCrew } from './crew.js'

const module = import.meta.url

let handled = 0
let onHandled: (() => void) | undefined

@eventHandler('bench.count', ItemsChanged)
class CountItemsChanged implements EventHandler<typeof ItemsChanged> {
  async handle(): Promise<void> {
    handled++
    onHandled?.()
  }
}

/**
 * A whole node with one durable handler. Its backlog are events that have a position and no delivery yet, so that,
 * other than for the peers, whose jobs lie ready, making one for each is part of what is timed.
 */
export function openOurs(settings: EntrantSettings): Promise<Entrant> {
  return openCrew(settings, {
    module,
    open: 'openOurWorker',
    install: async () => (await startOurNode(settings)).stop(),
    clear: (client) =>
      client.query('truncate aftercommit_kernel.outbox_message, aftercommit_kernel.event_delivery'),
    fill: async (client, count) => {
      await client.query(
        `insert into aftercommit_kernel.outbox_message (type, payload, position, numbering_id, numbered_at)
         select 'bench.items-changed', jsonb_build_object('keys', jsonb_build_array('item:' || n), 'tags', '[]'::jsonb),
           h.position + n, id, clock_timestamp()
         from aftercommit_kernel.journal_head h, gen_random_uuid() id, generate_series(1, ${count}) n`,
      )
      await client.query(
        `update aftercommit_kernel.journal_head set (position, numbering_id) =
           (select position, numbering_id from aftercommit_kernel.outbox_message
            where position is not null order by position desc limit 1)`,
      )
    },
    tables: ['aftercommit_kernel.outbox_message'],
    left: `select greatest(count(*) filter (where d.state is null), count(*) filter (where d.state <> 'done'))::integer as left
      from aftercommit_kernel.outbox_message m left join aftercommit_kernel.event_delivery d using (position)`,
  })
}

export async function openOurWorker(settings: EntrantSettings): Promise<Entrant> {
  const node = await startOurNode(settings)
  const count = backlogOf(settings)
  const { eventHandlers, connections } = node.parts
  return {
    async round() {
      const all = new Promise<void>((resolve) => {
        onHandled = () => {
          if (handled % count === 0) resolve()
        }
      })
      for (const runner of eventHandlers) runner.wake()
      await all
      // The last transaction is still to commit.
      for (;;) {
        const [row] = await connections.borrow((runner) =>
          runner.query(
            `select exists (select from aftercommit_kernel.event_delivery where state = 'pending') as pending`,
          ),
        )
        if (!(row as { pending: boolean }).pending) return {}
      }
    },
    close: () => node.stop(),
  }
}

function startOurNode(settings: EntrantSettings) {
  return startBenchNode(settings, { offered: [{ ...benchModule, handlers: [CountItemsChanged] }] })
}
