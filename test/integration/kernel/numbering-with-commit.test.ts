import { afterEach, beforeEach, expect, test } from '@jest/globals'
import type { Node } from '../../../src/node.js'
import { createFreshDatabase, type FreshDatabase, query, withClient } from '../../support/fresh-database.js'
import { Gate } from '../../support/gate.js'
import { modulesWithoutEventHandlers, rareChecks, startTestNode } from '../../support/test-node.js'
import { until } from '../../support/until.js'
import { getUser, registerUser, renameUser } from '../../support/users.js'

const poolSize = 3
const heldLock = 4711

let database: FreshDatabase
let node: Node
/** How often the node has numbered by a connection of the journal's own. */
let ownNumberings: number
/** How often in a transaction that wrote. */
let numberedInTransaction: number

beforeEach(async () => {
  database = await createFreshDatabase()
  // At COMMIT: the name `refused` is an error, and `slow` waits for a lock that a test may hold.
  await query(
    database,
    `create function at_commit() returns trigger language plpgsql as $$
     begin
       if new.name = 'refused' then raise exception 'refused at COMMIT'; end if;
       if new.name = 'slow' then perform pg_advisory_xact_lock(${heldLock}); end if;
       return null;
     end $$`,
  )
  await query(
    database,
    `create constraint trigger at_commit after update on user_account deferrable initially deferred
     for each row execute function at_commit()`,
  )
  ownNumberings = 0
  numberedInTransaction = 0
  node = await startTestNode(database, {
    env: { ...rareChecks, DATABASE_POOL_SIZE: String(poolSize), LOAD_CONCURRENCY: '1' },
    offered: modulesWithoutEventHandlers,
    wrappers: {
      journal: (journal) => ({
        number: (atMost) => {
          ownNumberings++
          return journal.number(atMost)
        },
        ...(journal.numberOn && { numberOn: journal.numberOn.bind(journal) }),
        numberAndCommit: async (connection, atMost) => {
          const answer = await journal.numberAndCommit?.(connection, atMost)
          if (!answer) throw new Error('never: the journal is the one of Postgres')
          if (answer.numbering) numberedInTransaction++
          return answer
        },
        read: journal.read.bind(journal),
        beginEpoch: journal.beginEpoch.bind(journal),
      }),
    },
  })
  // The check that a node makes when it has subscribed would find what a test leaves unnumbered, and number it.
  await until('the node hears hints', () => node.parts.subscriber.statistics.reconnects === 1)
  await node.parts.check.run()
})
afterEach(async () => {
  await node.stop()
  await database.drop()
})

const applied = (position: number) =>
  until(`position ${position} is applied`, () => node.parts.applied.position === position)

/** So that the node is not quiet: another transaction of it is open. */
async function besideAnother(work: () => Promise<unknown>): Promise<void> {
  const held = new Gate()
  const other = node.parts.unitOfWork.run(() => held.opened)
  try {
    await work()
  } finally {
    held.open()
    await other
  }
}

const writeByHand = (userId: string) =>
  query(
    database,
    `insert into aftercommit_kernel.outbox_message (type, payload)
     values ('users.user-renamed', jsonb_build_object('userId', $1::text, 'name', 'by hand'))`,
    [userId],
  )

test.each([
  ['a quiet node', (work: () => Promise<unknown>) => work()],
  ['a node with other transactions', besideAnother],
])(
  'on %s a command’s events have their position on the way of its COMMIT, without another one',
  async (_, surrounded) => {
    const { id } = await registerUser(node)
    await applied(1)
    await surrounded(async () => {
      for (let turn = 0; turn < 3 * poolSize; turn++) {
        await renameUser(node, id, `Ada ${turn}`)
        await applied(turn + 2)
      }
    })
    expect(ownNumberings).toBe(0)
  },
)

test('on a quiet node that is in the same transaction, so that nobody ever sees the event without its position', async () => {
  await registerUser(node)
  await applied(1)
  expect(numberedInTransaction).toBe(1)
  await besideAnother(() => registerUser(node))
  await applied(2)
  expect(numberedInTransaction).toBe(1)
})

test('a numbering that fails does not cost the write, and is made up for', async () => {
  const { id } = await registerUser(node)
  await applied(1)
  await query(database, 'alter table aftercommit_kernel.journal_head rename to away')
  await renameUser(node, id, 'Grace')
  const [row] = await query<{ name: string }>(database, 'select name from user_account where id = $1', [id])
  expect(row?.name).toBe('Grace')
  await query(database, 'alter table aftercommit_kernel.away rename to journal_head')
  await node.parts.dispatcher.dispatch()
  await applied(2)
})

test('what others have committed before gets its position first', async () => {
  const { id } = await registerUser(node)
  await applied(1)
  await writeByHand(id)
  await renameUser(node, id, 'Grace')
  await applied(3)
  const rows = await query<{ name: string }>(
    database,
    `select payload ->> 'name' as name from aftercommit_kernel.outbox_message where position > 1 order by position`,
  )
  expect(rows).toEqual([{ name: 'by hand' }, { name: 'Grace' }])
})

test('a COMMIT that Postgres refuses gives nothing a position, and the next one does', async () => {
  const { id } = await registerUser(node)
  await applied(1)
  await writeByHand(id)
  await expect(renameUser(node, id, 'refused')).rejects.toThrow('refused at COMMIT')
  const unnumbered = 'select from aftercommit_kernel.outbox_message where position is null'
  expect(await query(database, unnumbered)).toHaveLength(1)
  await renameUser(node, id, 'Grace')
  await applied(3)
  expect((await getUser(node, id))?.name).toBe('Grace')
})

test('many at once have theirs, and the pool has all its connections back', async () => {
  const users = await Promise.all(Array.from({ length: 10 }, () => registerUser(node)))
  await Promise.all(users.map(({ id }) => renameUser(node, id, 'Grace')))
  await until('all are numbered', async () => {
    const left = await query(database, 'select from aftercommit_kernel.outbox_message where position is null')
    return left.length === 0
  })
  for (const { id } of users) expect((await getUser(node, id))?.name).toBe('Grace')
  const pool = (
    node.parts.dataSource.driver as unknown as { master: { idleCount: number; totalCount: number } }
  ).master
  await until('no connection is out', () => pool.idleCount === pool.totalCount)
})

test('behind a COMMIT that Postgres refuses, what others have committed is numbered all the same', async () => {
  const { id } = await registerUser(node)
  await applied(1)
  await writeByHand(id)
  await besideAnother(() => expect(renameUser(node, id, 'refused')).rejects.toThrow('refused at COMMIT'))
  await applied(2)
  expect((await getUser(node, id))?.name).toBe('Ada')
  await renameUser(node, id, 'Grace')
  await applied(3)
})

test('a COMMIT that takes long holds up nobody else’s position', async () => {
  const slow = await registerUser(node)
  const quick = await registerUser(node)
  await applied(2)
  await withClient(database.url, async (holder) => {
    await holder.query(`select pg_advisory_lock(${heldLock})`)
    const waiting = renameUser(node, slow.id, 'slow')
    await until('COMMIT waits', async () => {
      const rows = await query(
        database,
        `select from pg_locks where locktype = 'advisory' and objid = ${heldLock} and not granted`,
      )
      return rows.length === 1
    })
    await renameUser(node, quick.id, 'Grace')
    await applied(3)
    await holder.query(`select pg_advisory_unlock(${heldLock})`)
    await waiting
    await applied(4)
  })
})

test('a numbering that waits for another node’s holds up no command', async () => {
  const { id } = await registerUser(node)
  await applied(1)
  const lock = `hashtextextended('aftercommit_kernel.number_outbox', 0)`
  await withClient(database.url, async (other) => {
    await other.query(`select pg_advisory_lock(${lock})`)
    for (const name of ['Grace', 'Hopper', 'Lovelace']) await renameUser(node, id, name)
    const [row] = await query<{ name: string }>(database, 'select name from user_account where id = $1', [id])
    expect(row?.name).toBe('Lovelace')
    await other.query(`select pg_advisory_unlock(${lock})`)
  })
  await applied(4)
})
