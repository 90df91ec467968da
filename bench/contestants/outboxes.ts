import pg from 'pg'
import type { EntrantSettings } from '../entrant.js'
import type { Member } from '../members.js'
import { Arrivals, pacing } from './pacing.js'

/** As many as a node of ours has for its requests. */
const writerConnections = 10
const channel = 'bench_outbox'
const queue = 'items'

/** An outbox by hand: a row in the writer's transaction, and a NOTIFY that wakes who takes it out. */
export async function openRawWriter(settings: EntrantSettings): Promise<Member> {
  return writing(settings, (id) => [
    {
      name: 'outbox',
      text: 'insert into outbox (type, payload) values ($1, $2)',
      values: ['bench.items-changed', JSON.stringify({ keys: [id], tags: [] })],
    },
    { text: `notify ${channel}` },
  ])
}

export async function openRawConsumer({ databaseUrl }: EntrantSettings): Promise<Member> {
  const client = await connected(databaseUrl)
  await client.query(`
    create table if not exists outbox (
      id bigint generated always as identity primary key, type text not null, payload jsonb not null)`)
  const arrivals = new Arrivals()
  const cached = new Map<string, object>()
  let woken = false
  let taking = false
  const listener = await connected(databaseUrl)
  listener.on('notification', () => {
    woken = true
    if (!taking) void take()
  })
  await listener.query(`listen ${channel}`)
  return arrivals.member

  async function take(): Promise<void> {
    taking = true
    while (woken) {
      woken = false
      const { rows } = await client.query<{ payload: { keys: string[] } }>({
        name: 'take',
        text: `delete from outbox where id in (
                 select id from outbox order by id limit 500 for update skip locked)
               returning payload`,
      })
      for (const { payload } of rows) {
        for (const key of payload.keys) {
          cached.delete(key)
          arrivals.add(key)
        }
      }
      if (rows.length > 0) woken = true
    }
    taking = false
  }
}

export async function openGraphileWriter(settings: EntrantSettings): Promise<Member> {
  return writing(settings, (id) => [
    {
      name: 'outbox',
      text: `select graphile_worker.add_job('${queue}', json_build_object('key', $1::text))`,
      values: [id],
    },
  ])
}

export async function openGraphileConsumer({ databaseUrl }: EntrantSettings): Promise<Member> {
  const { run } = await import('graphile-worker')
  const arrivals = new Arrivals()
  await run({
    connectionString: databaseUrl,
    concurrency: 10,
    noHandleSignals: true,
    taskList: { [queue]: async (payload) => arrivals.add((payload as { key: string }).key) },
  })
  return arrivals.member
}

export async function openPgBossWriter(settings: EntrantSettings): Promise<Member> {
  const { default: PgBoss } = await import('pg-boss')
  const boss = new PgBoss({ connectionString: settings.databaseUrl, schedule: false, supervise: false })
  boss.on('error', () => {})
  await boss.start()
  const pool = poolOf(settings)
  return pacing(settings, async (id, sent) => {
    const client = await pool.connect()
    try {
      await client.query('begin')
      await boss.send(
        queue,
        { key: id },
        { db: { executeSql: (text: string, values: unknown[]) => client.query(text, values) } },
      )
      await client.query(`notify ${channel}`)
      await client.query('commit')
      sent(id)
    } finally {
      client.release()
    }
  })
}

/** It polls; its own way to be quicker is to be told by `notifyWorker`, here when a NOTIFY comes. */
export async function openPgBossConsumer({ databaseUrl }: EntrantSettings): Promise<Member> {
  const { default: PgBoss } = await import('pg-boss')
  const boss = new PgBoss({ connectionString: databaseUrl, schedule: false })
  boss.on('error', () => {})
  await boss.start()
  await boss.createQueue(queue)
  const arrivals = new Arrivals()
  const worker = await boss.work<{ key: string }>(
    queue,
    { batchSize: 100, pollingIntervalSeconds: 0.5 },
    async (jobs) => {
      for (const { data } of jobs) arrivals.add(data.key)
    },
  )
  const listener = await connected(databaseUrl)
  listener.on('notification', () => boss.notifyWorker(worker))
  await listener.query(`listen ${channel}`)
  return arrivals.member
}

/** A transaction for each write; its time counts from the answer to COMMIT. */
function writing(settings: EntrantSettings, statementsOf: (id: string) => readonly pg.QueryConfig[]): Member {
  const pool = poolOf(settings)
  return pacing(settings, async (id, sent) => {
    const client = await pool.connect()
    try {
      await client.query('begin')
      for (const statement of statementsOf(id)) await client.query(statement)
      await client.query('commit')
      sent(id)
    } finally {
      client.release()
    }
  })
}

function poolOf({ databaseUrl }: EntrantSettings): pg.Pool {
  return new pg.Pool({ connectionString: databaseUrl, max: writerConnections })
}

async function connected(databaseUrl: string): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: databaseUrl })
  await client.connect()
  return client
}
