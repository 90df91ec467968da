import { Redis } from 'ioredis'
import pg from 'pg'
import type { Entrant, EntrantSettings } from '../entrant.js'
import { benchModule } from '../service/bench-module.js'
import { startBenchNode } from '../service/bench-node.js'
import { openCrew } from './crew.js'

const module = import.meta.url

/** What every contestant has to say of one event. */
const payload = `jsonb_build_object('keys', jsonb_build_array('item:' || n), 'tags', '[]'::jsonb)`

/** Rows of one UPDATE: as many as a numbering call takes. */
const rawBatch = 2_000

/** The limit: one statement marks and returns a batch, which goes to Redis as one message without being waited for. */
export function openRaw(settings: EntrantSettings): Promise<Entrant> {
  return openCrew(settings, {
    module,
    open: 'openRawWorker',
    install: (client) =>
      client.query(`
        create sequence place;
        create table outbox (id bigint generated always as identity primary key, position bigint,
          type text not null, payload jsonb not null) with (fillfactor = 70);
        create index unpublished on outbox (id) where position is null`),
    clear: (client) => client.query('truncate outbox'),
    fill: (client, count) =>
      client.query(
        `insert into outbox (type, payload) select 'bench.items-changed', ${payload} from generate_series(1, ${count}) n`,
      ),
    tables: ['outbox'],
    left: 'select count(*)::integer as left from outbox where position is null',
  })
}

export async function openRawWorker({ databaseUrl, redisUrl }: EntrantSettings): Promise<Entrant> {
  const client = new pg.Client(databaseUrl)
  await client.connect()
  // As for ours: left to the planner, the loop has been seen to read the whole table for each batch.
  await client.query('set enable_seqscan = off; set enable_hashjoin = off; set enable_mergejoin = off')
  const redis = new Redis(redisUrl)
  return {
    async round() {
      const published: Promise<unknown>[] = []
      for (;;) {
        const { rows } = await client.query({
          name: 'mark',
          // Not `in (select …)`, which the planner may choose to run once for each row of the table.
          text: `with batch as materialized (
              select id from outbox where position is null order by id limit $1 for update skip locked)
            update outbox set position = nextval('place') from batch where outbox.id = batch.id
            returning position, type, payload`,
          values: [rawBatch],
        })
        if (rows.length === 0) break
        published.push(redis.publish('raw-outbox', JSON.stringify(rows)))
      }
      await Promise.all(published)
      return { messages: published.length }
    },
    async close() {
      redis.disconnect()
      await client.end()
    },
  }
}

/** Whole nodes: each numbers, fetches, applies and publishes, and hears what the others publish. */
export function openOurs(settings: EntrantSettings): Promise<Entrant> {
  return openCrew(settings, {
    module,
    open: 'openOurWorker',
    install: async () => (await startOurNode(settings)).stop(),
    clear: (client) =>
      client.query('truncate aftercommit_kernel.outbox_message, aftercommit_kernel.event_delivery'),
    fill: (client, count) =>
      client.query(
        `insert into aftercommit_kernel.outbox_message (type, payload)
         select 'bench.items-changed', ${payload} from generate_series(1, ${count}) n`,
      ),
    tables: ['aftercommit_kernel.outbox_message'],
    left: 'select count(*)::integer as left from aftercommit_kernel.outbox_message where position is null',
  })
}

export async function openOurWorker(settings: EntrantSettings): Promise<Entrant> {
  const node = await startOurNode(settings)
  return {
    async round() {
      await node.parts.dispatcher.dispatch()
      // Published on the same connection before it.
      await node.parts.redis?.ping()
      return { position: node.parts.applied.position }
    },
    close: () => node.stop(),
  }
}

function startOurNode(settings: EntrantSettings) {
  return startBenchNode(settings, { offered: [benchModule] })
}
