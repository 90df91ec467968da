import { afterEach, beforeEach, expect, jest, test } from '@jest/globals'
import pg from 'pg'
import { DataSource } from 'typeorm'
import { PostgresJournal } from '../../../src/kernel/journal/postgres-journal.js'
import { EventDeliveries } from '../../../src/kernel/outbox/event-deliveries.js'
import { Connections } from '../../../src/kernel/persistence/connections.js'
import { createFreshDatabase, type FreshDatabase, serverUrl } from '../../support/fresh-database.js'
import { until } from '../../support/until.js'

/** Postgres plans a prepared statement, or one of a function, for good when it has run this often. */
const runsUntilPlanned = 7
const journalLength = 20_000

let database: FreshDatabase
/** One connection, so that what was planned on it stays planned. */
let dataSource: DataSource
/** Has a transaction open in another database of the server, as a test that runs at the same time may have. */
let neighbour: pg.Client

beforeEach(async () => {
  neighbour = new pg.Client(serverUrl())
  await neighbour.connect()
  database = await createFreshDatabase()
  dataSource = await new DataSource({ type: 'postgres', url: database.url, poolSize: 1 }).initialize()
  // Statistics come when they are due, which a busy journal outruns by thousands of events.
  await dataSource.query('alter table aftercommit_kernel.outbox_message set (autovacuum_enabled = off)')
})
afterEach(async () => {
  await neighbour.end()
  await dataSource.destroy()
  await database.drop()
})

async function insertEvents(count: number): Promise<void> {
  await dataSource.query(
    `insert into aftercommit_kernel.outbox_message (type, payload)
     select 't.' || n % 100, to_jsonb(n) from generate_series(1, $1) as n`,
    [count],
  )
}

/** How often a row or its index entry was looked at, in all of the kernel's tables. */
async function rowsLookedAt(): Promise<number> {
  await dataSource.query('select pg_stat_force_next_flush()')
  const [{ count }] = await dataSource.query(
    `select (select sum(seq_tup_read) from pg_stat_user_tables where schemaname = 'aftercommit_kernel')
          + (select sum(idx_tup_read) from pg_stat_user_indexes where schemaname = 'aftercommit_kernel') as count`,
  )
  return Number(count)
}

/** A call of the journal, on the one connection. */
async function onThatConnection<Result>(call: (journal: PostgresJournal) => Promise<Result>): Promise<void> {
  const pool = jest.spyOn(pg.Pool.prototype, 'query').mockImplementation((async (
    statement: pg.QueryConfig,
  ) => {
    const runner = dataSource.createQueryRunner()
    try {
      return await ((await runner.connect()) as pg.Client).query(statement)
    } finally {
      await runner.release()
    }
  }) as never)
  const journal = new PostgresJournal({
    databaseUrl: database.url,
    applicationName: 'test',
    timeoutMs: 10_000,
  })
  try {
    await call(journal)
  } finally {
    await journal.close()
    pool.mockRestore()
  }
}

const steps: Readonly<Record<string, () => Promise<unknown>>> = {
  'a numbering of one event': async () => {
    await insertEvents(1)
    await onThatConnection((journal) => journal.number(2_000))
  },
  'a check': async () => {
    const [{ position }] = await dataSource.query('select position from aftercommit_kernel.journal_head')
    await onThatConnection((journal) =>
      journal.read(Number(position), 1_000, [
        { position: Number(position), numberingId: crypto.randomUUID() },
      ]),
    )
  },
  'a claim by a handler that is not behind': async () => {
    const deliveries = new EventDeliveries(new Connections(dataSource))
    await dataSource.query(
      `update aftercommit_kernel.event_handler set position = (select position from aftercommit_kernel.journal_head)`,
    )
    await deliveries.claimNext('the-handler', 't.1', 10, 10_000, 60_000)
  },
}

const analyze = () => dataSource.query('analyze aftercommit_kernel.outbox_message')

/** What the planner knew, when it planned and when the journal had grown. */
const statistics: Readonly<
  Record<string, { planned?: () => Promise<unknown>; grown?: () => Promise<unknown> }>
> = {
  'from when the journal was empty': {},
  'from a backlog': { planned: () => insertEvents(journalLength).then(analyze) },
  'of today': { grown: analyze },
}

for (const [when, { planned, grown }] of Object.entries(statistics)) {
  for (const [what, step] of Object.entries(steps)) {
    test(`${what} looks at no more rows in a long journal, by statistics ${when}`, async () => {
      await new EventDeliveries(new Connections(dataSource)).register(['the-handler'])
      await neighbour.query('start transaction')
      await neighbour.query('select pg_current_xact_id()')
      await planned?.()
      for (let run = 0; run < runsUntilPlanned; run++) await step()
      await insertEvents(journalLength)
      await dataSource.query('select from aftercommit_kernel.number_outbox(1000000)')
      // A commit that is flushed, and the positions with it: before that nobody may mark as dead what they replace (ADR 14).
      await dataSource.query('create table flushed ()')
      await grown?.()
      await step()
      await neighbour.query('commit')
      // The first of them passes what is dead in the index, and marks it so that nobody does again. While any transaction of the
      // server is older than those rows, also one of another database, as of tests that run beside this one, it may not.
      const rowsOfAStep = async (runs: number) => {
        const before = await rowsLookedAt()
        for (let run = 0; run < runs; run++) await step()
        return ((await rowsLookedAt()) - before) / runs
      }
      await until('a step looks at few rows', async () => (await rowsOfAStep(1)) < 100, 30_000)
      expect(await rowsOfAStep(10)).toBeLessThan(100)
    })
  }
}

test('a check is planned once for its connection, and not at each call', async () => {
  await insertEvents(journalLength)
  await dataSource.query('select from aftercommit_kernel.number_outbox(1000000)')
  await analyze()
  const check = steps['a check'] as () => Promise<unknown>
  for (let run = 0; run < runsUntilPlanned; run++) await check()
  await dataSource.query('start transaction')
  await check()
  // Planning locks every index of a table until the transaction ends; running a plan, those that it uses.
  const lockedBy = `select from pg_locks where pid = pg_backend_pid()
    and relation = ('aftercommit_kernel.' || $1::text)::regclass`
  expect(await dataSource.query(lockedBy, ['outbox_numbered'])).toHaveLength(1)
  expect(await dataSource.query(lockedBy, ['outbox_message_pkey'])).toHaveLength(0)
  await dataSource.query('rollback')
})
