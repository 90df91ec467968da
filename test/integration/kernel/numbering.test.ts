import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals'
import fc from 'fast-check'
import pg from 'pg'
import { createDataSource } from '../../../ormconfig.js'
import type { JournalMessage } from '../../../src/kernel/journal/journal.js'
import { PostgresJournal } from '../../../src/kernel/journal/postgres-journal.js'
import { startPostgres } from '../../../tools/local-stack/postgres-server.js'
import { openReapedFolder } from '../../../tools/local-stack/reaped-folder.js'
import { createFreshDatabase, type FreshDatabase, query, withClient } from '../../support/fresh-database.js'
import { seed } from '../../support/seed.js'
import { until } from '../../support/until.js'

let database: FreshDatabase
let journal: PostgresJournal
let clients: pg.Client[]

const insert = `insert into aftercommit_kernel.outbox_message (type, payload) values ('t.t', to_jsonb($1::text))`

beforeAll(async () => {
  database = await createFreshDatabase()
  journal = openJournal()
  clients = Array.from({ length: 6 }, () => new pg.Client({ connectionString: database.url }))
  for (const client of clients) await client.connect()
})
afterAll(async () => {
  await journal.close()
  for (const client of clients) await client.end()
  await database.drop()
})
beforeEach(async () => {
  await clients[0]!.query(`delete from aftercommit_kernel.outbox_message`)
  await clients[0]!.query(`update aftercommit_kernel.journal_head set position = 0, numbering_id = null`)
})

function openJournal(): PostgresJournal {
  return new PostgresJournal({ databaseUrl: database.url, applicationName: 'test', timeoutMs: 10_000 })
}

async function readAll(after = 0): Promise<readonly JournalMessage[]> {
  return (await journal.read(after, 100_000)).messages
}

describe('positions', () => {
  test('begin at 1, have no gaps, and carry the id of the call that gave them', async () => {
    for (const name of ['a', 'b', 'c']) await clients[0]!.query(insert, [name])
    expect(await journal.number(2)).toMatchObject({ head: 2, numbered: 2 })
    const { headId } = await journal.number(10)
    const messages = await readAll()
    expect(messages.map(({ position, payload }) => [position, payload])).toEqual([
      [1, 'a'],
      [2, 'b'],
      [3, 'c'],
    ])
    expect(messages[0]!.numberingId).toBe(messages[1]!.numberingId)
    expect(messages[2]!.numberingId).toBe(headId)
    expect(messages[1]!.numberingId).not.toBe(headId)
    expect(await journal.number(10)).toMatchObject({ head: 3, numbered: 0, headId })
  })

  test('a transaction that wrote first and commits last gets the later position, and no reader skips it', async () => {
    const [early, late] = clients as [pg.Client, pg.Client]
    await early.query('begin')
    await early.query(insert, ['wrote first'])
    await late.query(insert, ['committed first'])
    await journal.number(10)
    expect(await readAll()).toMatchObject([{ position: 1, payload: 'committed first' }])
    await early.query('commit')
    await journal.number(10)
    expect(await readAll(1)).toMatchObject([{ position: 2, payload: 'wrote first' }])
  })

  test('what rolls back, in a savepoint too, leaves neither a position nor a gap', async () => {
    const [client] = clients as [pg.Client]
    await client.query('begin')
    await client.query(insert, ['rolled back'])
    await client.query('rollback')
    await client.query('begin')
    await client.query(insert, ['outer'])
    await client.query('savepoint s')
    await client.query(insert, ['inner'])
    await client.query('rollback to s')
    await client.query('commit')
    await journal.number(10)
    expect((await readAll()).map(({ payload }) => payload)).toEqual(['outer'])
  })

  test('whoever follows them by a cursor sees every commit exactly once, in any interleaving', async () => {
    const actions = ['write', 'commit', 'number and commit', 'rollback', 'number', 'read'] as const
    const step = fc.tuple(fc.nat(4), fc.constantFrom(...actions))
    await fc.assert(
      fc
        .asyncProperty(fc.array(step, { minLength: 5, maxLength: 40 }), async (steps) => {
          let cursor = 0
          let written = 0
          const seen: unknown[] = []
          const committed: string[] = []
          const open = new Map<pg.Client, string[]>()
          const follow = async () => {
            for (const { position, payload } of await readAll(cursor)) {
              expect(position).toBe(cursor + 1)
              cursor = position
              seen.push(payload)
            }
          }
          const finish = async (client: pg.Client, how: 'commit' | 'number and commit' | 'rollback') => {
            const names = open.get(client)
            if (!names) return
            open.delete(client)
            if (how === 'number and commit') await journal.numberAndCommit(client, 3)
            else await client.query(how)
            if (how !== 'rollback') committed.push(...names)
          }
          for (const [index, action] of steps) {
            const client = clients[index]!
            if (action === 'number') await journal.number(3)
            else if (action === 'read') await follow()
            else if (action === 'write') {
              const names = open.get(client) ?? []
              if (names.length === 0) await client.query('begin')
              open.set(client, [...names, `event ${++written}`])
              await client.query(insert, [`event ${written}`])
            } else await finish(client, action)
          }
          for (const client of [...open.keys()]) await finish(client, 'commit')
          while ((await journal.number(100)).numbered > 0);
          await follow()
          expect(seen.toSorted()).toEqual(committed.toSorted())
        })
        .beforeEach(async () => {
          await clients[5]!.query(`delete from aftercommit_kernel.outbox_message`)
          await clients[5]!.query(`update aftercommit_kernel.journal_head set position = 0`)
        }),
      { seed, numRuns: 40 },
    )
  })

  test('eight numbering at once give every position once, and each finds in a later statement what it numbered', async () => {
    const journals = Array.from({ length: 8 }, openJournal)
    const found: JournalMessage[] = []
    try {
      await Promise.all(
        journals.map(async (each, index) => {
          await withClient(database.url, async (client) => {
            for (let round = 0; round < 25; round++) {
              await client.query(insert, [`${index}/${round}`])
              const { head, numbered } = await each.number(1_000)
              const page = await each.read(head - numbered, 1_000)
              const mine = page.messages.filter(({ position }) => position <= head)
              expect(mine.map(({ position }) => position)).toEqual(
                Array.from({ length: numbered }, (_, place) => head - numbered + place + 1),
              )
              found.push(...mine)
            }
          })
        }),
      )
    } finally {
      for (const each of journals) await each.close()
    }
    expect(found.map(({ position }) => position).toSorted((a, b) => a - b)).toEqual(
      Array.from({ length: 200 }, (_, index) => index + 1),
    )
    expect(new Set(found.map(({ payload }) => payload)).size).toBe(200)
  })

  test('eight at once that number in the transaction of a writer give every position once', async () => {
    const found: JournalMessage[] = []
    await Promise.all(
      Array.from({ length: 8 }, (_, index) =>
        withClient(database.url, async (client) => {
          for (let round = 0; round < 25; round++) {
            await client.query('begin')
            await client.query(insert, [`${index}/${round}`])
            const { command, numbering } = await journal.numberAndCommit(client, 60)
            expect(command).toBe('COMMIT')
            found.push(...(numbering?.messages ?? []))
          }
        }),
      ),
    )
    const { messages: rest } = await journal
      .number(1_000)
      .then(({ head, numbered }) => journal.read(head - numbered, 1_000))
    const all = [...found, ...rest]
    expect(all.map(({ position }) => position).toSorted((a, b) => a - b)).toEqual(
      Array.from({ length: 200 }, (_, index) => index + 1),
    )
    expect(new Set(all.map(({ payload }) => payload)).size).toBe(200)
  })

  test('a call after a commit covers that commit, even if it had to wait for another caller', async () => {
    const [holder, writer] = clients as [pg.Client, pg.Client]
    await holder.query('begin')
    await holder.query(insert, ['first'])
    await holder.query('commit')
    await holder.query('begin')
    await holder.query('select aftercommit_kernel.number_outbox(10)')
    await writer.query(insert, ['second'])
    const waiting = journal.number(10)
    // The call has taken its statement's snapshot and stands at the lock before the holder commits.
    await lockIsAwaited()
    await holder.query('commit')
    expect(await waiting).toMatchObject({ head: 2, numbered: 1 })
    expect((await readAll()).map(({ payload }) => payload)).toEqual(['first', 'second'])
  })
})

async function lockIsAwaited(): Promise<void> {
  for (;;) {
    const [row] = await query<{ waiting: boolean }>(
      database,
      `select exists (select from pg_locks l join pg_database d on d.oid = l.database
         where d.datname = current_database() and not l.granted) as waiting`,
    )
    if (row?.waiting) return
  }
}

describe('numbering refuses', () => {
  test.each(['repeatable read', 'serializable'])(
    '%s, where the snapshot would be older than the lock',
    async (level) => {
      const [client] = clients as [pg.Client]
      await client.query(`begin isolation level ${level}`)
      await expect(client.query('select aftercommit_kernel.number_outbox(10)')).rejects.toThrow(
        'READ COMMITTED',
      )
      await client.query('rollback')
    },
  )

  test('a transaction that has written something, whose rows are not committed yet', async () => {
    const [client] = clients as [pg.Client]
    await client.query('begin')
    await client.query(insert, ['mine'])
    await expect(client.query('select aftercommit_kernel.number_outbox(10)')).rejects.toThrow(
      'a transaction of its own',
    )
    await client.query('rollback')
  })
})

describe('numbering in the transaction of a writer', () => {
  /** @returns how many it has numbered; undefined where Postgres declines */
  async function writeAndNumber(client: pg.Client, ...before: string[]) {
    await client.query('begin')
    await client.query(insert, ['mine'])
    for (const statement of before) await client.query(statement)
    const { command, numbering } = await journal.numberAndCommit(client, 10)
    expect(command).toBe('COMMIT')
    return numbering?.numbered
  }

  test('gives what it has written a position that is seen together with it', async () => {
    expect(await writeAndNumber(clients[0]!)).toBe(1)
    expect(await readAll()).toMatchObject([{ position: 1, payload: 'mine' }])
  })

  test('leaves the flush of its COMMIT as it is: what it has written must not be lost', async () => {
    const [client] = clients as [pg.Client]
    await client.query('begin')
    await client.query(insert, ['mine'])
    await client.query('select aftercommit_kernel.number_before_commit(10, null)')
    const { rows } = await client.query('show synchronous_commit')
    await client.query('commit')
    expect(rows).toEqual([{ synchronous_commit: 'on' }])
  })

  test('declines rather than wait for another numbering, with the rows of its transaction locked', async () => {
    const [holder, writer] = clients as [pg.Client, pg.Client]
    await holder.query('begin')
    await holder.query('select aftercommit_kernel.number_outbox(10)')
    expect(await writeAndNumber(writer)).toBeUndefined()
    await holder.query('commit')
    expect(await journal.number(10)).toMatchObject({ head: 1, numbered: 1 })
  })

  test.each(['repeatable read', 'serializable'])(
    'declines under %s, where it would not see what others have numbered',
    async (level) => {
      await clients[0]!.query(`set default_transaction_isolation = '${level}'`)
      try {
        expect(await writeAndNumber(clients[0]!)).toBeUndefined()
      } finally {
        await clients[0]!.query('reset default_transaction_isolation')
      }
    },
  )

  test('declines where its COMMIT will not be flushed', async () => {
    expect(await writeAndNumber(clients[0]!, 'set local synchronous_commit = off')).toBeUndefined()
  })

  test('has deferred constraints checked before it takes the lock, as they may wait for another transaction', async () => {
    const [holder, writer] = clients as [pg.Client, pg.Client]
    await query(
      database,
      `create table slow_to_commit (); create function wait_at_commit() returns trigger language plpgsql as $$
       begin perform pg_advisory_xact_lock(4711); return null; end $$;
       create constraint trigger wait_at_commit after insert on slow_to_commit deferrable initially deferred
       for each row execute function wait_at_commit()`,
    )
    await holder.query('select pg_advisory_lock(4711)')
    const committing = writeAndNumber(writer, 'insert into slow_to_commit default values')
    await lockIsAwaited()
    await clients[2]!.query(insert, ['another'])
    expect(await journal.number(10)).toMatchObject({ head: 1, numbered: 1 })
    await holder.query('select pg_advisory_unlock(4711)')
    expect(await committing).toBe(1)
  })

  test('declines beside a synchronous standby, for which a COMMIT may wait long, or for ever', async () => {
    const folder = await openReapedFolder()
    try {
      const server = await startPostgres(folder.path, false)
      const dataSource = await createDataSource({ databaseUrl: server.url, poolSize: 2 }).initialize()
      await dataSource.runMigrations({ transaction: 'each' }).finally(() => dataSource.destroy())
      await withClient(server.superuserUrl, async (client) => {
        await client.query(`alter system set synchronous_standby_names = 'away'`)
        await client.query('select pg_reload_conf()')
      })
      await withClient(server.url, async (client) => {
        await client.query('set synchronous_commit = local')
        await until('the setting is there', async () => {
          const { rows } = await client.query('show synchronous_standby_names')
          return rows[0].synchronous_standby_names === 'away'
        })
        expect(await writeAndNumber(client)).toBeUndefined()
      })
    } finally {
      await folder.close()
    }
  })
})

describe('durability', () => {
  test('events are refused with synchronous_commit = off: they would be visible before they are durable', async () => {
    const [client] = clients as [pg.Client]
    await client.query('begin')
    await client.query('set local synchronous_commit = off')
    await expect(client.query(insert, ['lost by a crash'])).rejects.toThrow('synchronous_commit')
    await client.query('rollback')
    expect(await query(database, 'select from aftercommit_kernel.outbox_message')).toEqual([])
  })

  async function levelOfNumbering(level: string): Promise<string> {
    const [client] = clients as [pg.Client]
    await client.query(insert, ['a'])
    await client.query('begin')
    await client.query(`set local synchronous_commit = ${level}`)
    await client.query('select aftercommit_kernel.number_outbox(10)')
    const { rows } = await client.query<{ synchronous_commit: string }>('show synchronous_commit')
    await client.query('commit')
    return rows[0]!.synchronous_commit
  }

  test.each(['off', 'local'])(
    'positions that a crash must not take back are flushed even where the session says %s',
    async (level) => {
      await query(database, 'alter table aftercommit_kernel.journal_branch set logged')
      try {
        expect(await levelOfNumbering(level)).toBe('on')
      } finally {
        await query(database, 'alter table aftercommit_kernel.journal_branch set unlogged')
      }
    },
  )

  test('others wait for no flush, and what the session does next waits for it again', async () => {
    expect(await levelOfNumbering('on')).toBe('off')
    expect((await clients[0]!.query('show synchronous_commit')).rows).toEqual([{ synchronous_commit: 'on' }])
  })
})

describe('the epoch', () => {
  test('changes once, however many notice, and only for those who saw the present one', async () => {
    const { epoch } = await journal.read(0, 0)
    const begun = await Promise.all(Array.from({ length: 5 }, () => journal.beginEpoch(epoch)))
    expect(new Set(begun).size).toBe(1)
    expect(begun[0]).not.toBe(epoch)
    expect(begun[0]).toMatch(/^[0-9a-f]{16}$/)
    expect(await journal.beginEpoch(epoch)).toBe(begun[0])
    expect((await journal.read(0, 0)).epoch).toBe(begun[0])
    expect((await journal.number(1)).epoch).toBe(begun[0])
  })

  test('of two databases of one server differ', async () => {
    const other = await createFreshDatabase()
    try {
      const [row] = await query<{ epoch: string }>(
        other,
        'select aftercommit_kernel.current_epoch() as epoch',
      )
      expect(row?.epoch).not.toBe((await journal.read(0, 0)).epoch)
    } finally {
      await other.drop()
    }
  })
})

describe('a page', () => {
  test('says whether it knows who numbered the position asked for, and whether anything is unnumbered', async () => {
    const [client] = clients as [pg.Client]
    for (const name of ['a', 'b', 'c']) await client.query(insert, [name])
    const { headId } = await journal.number(10)
    expect(await journal.read(1, 1)).toMatchObject({
      head: 3,
      headId,
      afterId: headId,
      unnumbered: false,
      messages: [{ position: 2 }],
    })
    await client.query('delete from aftercommit_kernel.outbox_message where position = 1')
    await client.query(insert, ['d'])
    expect(await journal.read(1, 10)).toMatchObject({ afterId: null, unnumbered: true })
  })
})
