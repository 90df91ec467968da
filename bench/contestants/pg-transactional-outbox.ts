import { setTimeout as sleep } from 'node:timers/promises'
import { Redis } from 'ioredis'
import pg from 'pg'
import {
  DatabaseSetupExporter,
  getDisabledLogger,
  initializePollingMessageListener,
} from 'pg-transactional-outbox'
import type { Entrant, EntrantSettings } from '../entrant.js'
import { openCrew } from './crew.js'

const setup = {
  outboxOrInbox: 'outbox',
  database: 'current_database',
  schema: 'transactional',
  table: 'outbox',
  listenerRole: 'current_user',
  nextMessagesName: 'next_outbox_messages',
} as const
const left = `select count(*)::integer as left from transactional.outbox where processed_at is null`

/** Each message is handled in a transaction of its own: so many at once, over as many connections. */
const atOnce = 24
/** Each look for more goes through all that is unprocessed, so that few looks are better. */
const batchSize = 500

/** By polling: its replication listener takes one message after the other. */
export function openTransactionalOutbox(settings: EntrantSettings): Promise<Entrant> {
  return openCrew(settings, {
    module: import.meta.url,
    open: 'openTransactionalOutboxProcess',
    install: (client) => client.query(DatabaseSetupExporter.createPollingScript(setup, true)),
    clear: (client) => client.query('truncate transactional.outbox'),
    fill: (client, count) =>
      client.query(
        `insert into transactional.outbox (id, aggregate_type, aggregate_id, message_type, concurrency, payload)
         select gen_random_uuid(), 'item', n::text, 'item-changed', 'parallel',
           json_build_object('keys', json_build_array('item:' || n), 'tags', '[]'::json)
         from generate_series(1, ${count}) n`,
      ),
    tables: ['transactional.outbox'],
    left,
  })
}

export async function openTransactionalOutboxProcess(settings: EntrantSettings): Promise<Entrant> {
  const redis = new Redis(settings.redisUrl, { enableAutoPipelining: true })
  const client = new pg.Client(settings.databaseUrl)
  await client.connect()
  return {
    async round() {
      const connection = { connectionString: settings.databaseUrl, max: atOnce }
      const [stop] = initializePollingMessageListener(
        {
          outboxOrInbox: 'outbox',
          dbListenerConfig: connection,
          settings: {
            dbSchema: setup.schema,
            dbTable: setup.table,
            nextMessagesFunctionSchema: setup.schema,
            nextMessagesFunctionName: setup.nextMessagesName,
            nextMessagesPollingIntervalInMs: 10,
            nextMessagesLockInMs: 60_000,
            messageProcessingTimeoutInMs: 60_000,
            enableMaxAttemptsProtection: false,
            enablePoisonousMessageProtection: false,
          },
        },
        {
          handle: async ({ payload }) => {
            await redis.publish('jobs', JSON.stringify(payload))
          },
        },
        getDisabledLogger(),
        { batchSizeStrategy: refilledWhenFew },
      )
      while ((await client.query<{ left: number }>(left)).rows[0]?.left !== 0) await sleep(20)
      await stop()
      return {}
    },
    async close() {
      redis.disconnect()
      await client.end()
    },
  }
}

/** A whole batch once most of the last is done; by its own strategy, it would look for one whenever one is done. */
async function refilledWhenFew(underWay: number): Promise<number> {
  if (underWay <= atOnce) return batchSize
  await sleep(1)
  return underWay
}
