import { AsyncLocalStorage } from 'node:async_hooks'
import { randomUUID } from 'node:crypto'
import { afterAll, afterEach, beforeAll, describe, expect, jest, test } from '@jest/globals'
import pg from 'pg'
import {
  CommitOutcomeUnknownError,
  ConcurrencyError,
  UnitOfWorkError,
} from '../../../src/kernel/persistence/persistence-errors.js'
import { requireScope } from '../../../src/kernel/persistence/transaction-scope.js'
import type { UnitOfWork } from '../../../src/kernel/persistence/unit-of-work.js'
import { User } from '../../../src/modules/users/domain/user.js'
import type { Node } from '../../../src/node.js'
import { createFreshDatabase, type FreshDatabase, query, withClient } from '../../support/fresh-database.js'
import { Gate } from '../../support/gate.js'
import { startReplySwallower } from '../../support/reply-swallower.js'
import { perform } from '../../support/scripted-module.js'
import { rareChecks, startTestNode } from '../../support/test-node.js'
import { until } from '../../support/until.js'
import { freshEmail, getUser, registerUser, renameUser } from '../../support/users.js'

/** Runs something as another client would: not in the transaction of the script that it stands in. */
const elsewhere = AsyncLocalStorage.snapshot()

let database: FreshDatabase
let node: Node
let other: Node
let unitOfWork: UnitOfWork

beforeAll(async () => {
  database = await createFreshDatabase()
  node = await startTestNode(database, { env: rareChecks })
  other = await startTestNode(database, { env: rareChecks })
  unitOfWork = node.parts.unitOfWork
})
afterAll(async () => {
  await node.stop()
  await other.stop()
  await database.drop()
})

/** Types of the events in the outbox that speak of a user, in the order in which they were written. */
async function eventsOf(userId: string): Promise<string[]> {
  const rows = await query<{ type: string }>(
    database,
    `select type from aftercommit_kernel.outbox_message where payload->>'userId' = $1
     and type <> 'users.welcome-message-written' order by id`,
    [userId],
  )
  return rows.map(({ type }) => type.replace('users.user-', ''))
}

async function rowOf(userId: string): Promise<{ name: string; version: number } | undefined> {
  const rows = await query<{ name: string; version: number }>(
    database,
    'select name, version from user_account where id = $1',
    [userId],
  )
  return rows[0]
}

async function appliedEverywhere(): Promise<void> {
  await until('both nodes have applied all that is committed', async () => {
    const [row] = await query<{ head: string; unnumbered: boolean }>(
      database,
      `select h.position as head, exists (select from aftercommit_kernel.outbox_message where position is null)
         or exists (select from aftercommit_kernel.event_delivery where state = 'pending')
         or exists (select from aftercommit_kernel.event_handler e where e.position < h.position) as unnumbered
       from aftercommit_kernel.journal_head h`,
    )
    return (
      !row?.unnumbered && [node, other].every(({ parts }) => parts.applied.position === Number(row?.head))
    )
  })
}

const newUser = (name = 'Ada') => User.register(randomUUID(), freshEmail(), name)

describe('a transaction that rolls back', () => {
  test('leaves nothing: no row, no outbox row, no position, no hint, no eviction', async () => {
    const { id } = await registerUser(node)
    await appliedEverywhere()
    await getUser(other, id)
    const position = node.parts.applied.position
    const heard = other.parts.subscriber.statistics.received
    const outbox = await query(database, 'select from aftercommit_kernel.outbox_message')
    await expect(
      perform(node, async (work) => {
        const user = await work.of(User).get(id)
        user.rename('never')
        await work.of(User).save(user)
        await node.parts.caches.all[0]!.remove(id)
        throw new Error('the handler changed its mind')
      }),
    ).rejects.toThrow('the handler changed its mind')
    await node.parts.dispatcher.dispatch()
    expect(await rowOf(id)).toEqual({ name: 'Ada', version: 1 })
    expect(await query(database, 'select from aftercommit_kernel.outbox_message')).toHaveLength(outbox.length)
    const hits = other.parts.queryBus.cacheOf(getUserQuery())!.statistics.l1Hits
    await getUser(other, id)
    expect(other.parts.queryBus.cacheOf(getUserQuery())!.statistics.l1Hits).toBe(hits + 1)
    // The next write's position follows without a gap, and its hint is the next that is heard.
    await renameUser(node, id, 'Grace')
    await until('the other node has applied it', () => other.parts.applied.position > position)
    expect(other.parts.applied.position).toBe(position + 1)
    expect(other.parts.subscriber.statistics.received).toBe(heard + 1)
  })
})

function getUserQuery() {
  return [...node.parts.handlers.queries.keys()].find(({ name }) => name === 'GetUser')!
}

describe('a transaction that cannot begin', () => {
  afterEach(() => {
    jest.restoreAllMocks()
  })

  /** Fails on the server: the connection stays usable, and a write that is sent next would commit by itself. */
  function failToBegin(): void {
    const send = pg.Client.prototype.query as (...all: unknown[]) => unknown
    jest.spyOn(pg.Client.prototype, 'query').mockImplementation(function (
      this: pg.Client,
      ...[statement, ...rest]: unknown[]
    ) {
      const begins = statement === 'START TRANSACTION'
      return send.call(this, begins ? `do $$ begin raise 'not now'; end $$` : statement, ...rest)
    } as never)
  }

  test('writes nothing, not even by a first statement that is a write', async () => {
    const user = User.register(randomUUID(), freshEmail(), 'never begun')
    failToBegin()
    await expect(unitOfWork.run(() => unitOfWork.of(User).add(user))).rejects.toThrow('not now')
    expect(await rowOf(user.id)).toBeUndefined()
    expect(await eventsOf(user.id)).toEqual([])
  })

  test('writes nothing after a load, which is sent along with its begin', async () => {
    const { id } = await registerUser(node)
    const before = await rowOf(id)
    failToBegin()
    const saving = unitOfWork.run(async () => {
      const users = unitOfWork.of(User)
      const user = await users.get(id)
      user.rename('never begun')
      await users.save(user)
    })
    await expect(saving).rejects.toThrow('not now')
    expect(await rowOf(id)).toEqual(before)
  })

  test('fails even if it does nothing', async () => {
    failToBegin()
    await expect(unitOfWork.run(async () => 'nothing')).rejects.toThrow('not now')
  })
})

describe('a savepoint that rolls back', () => {
  test('leaves nothing, while the outer transaction commits', async () => {
    const [kept, dropped] = [newUser('kept'), newUser('dropped')]
    await unitOfWork.run(async () => {
      await unitOfWork.of(User).add(kept)
      const inner = unitOfWork.savepoint(async () => {
        await unitOfWork.of(User).add(dropped)
        throw new Error('inner')
      })
      await expect(inner).rejects.toThrow('inner')
    })
    expect(await eventsOf(kept.id)).toEqual(['registered'])
    expect(await eventsOf(dropped.id)).toEqual([])
    expect(await rowOf(dropped.id)).toBeUndefined()
  })

  test('that was released is still rolled back with the outer one', async () => {
    const user = newUser()
    const outer = unitOfWork.run(async () => {
      await unitOfWork.savepoint(() => unitOfWork.of(User).add(user))
      throw new Error('outer')
    })
    await expect(outer).rejects.toThrow('outer')
    expect(await rowOf(user.id)).toBeUndefined()
    expect(await eventsOf(user.id)).toEqual([])
  })

  async function failOnce(work: () => Promise<void>): Promise<void> {
    const failed = unitOfWork.savepoint(async () => {
      await work()
      throw new Error('try again')
    })
    await expect(failed).rejects.toThrow('try again')
    await unitOfWork.savepoint(work)
  }

  test('and is retried writes each event once, for an aggregate loaded before it', async () => {
    const { id } = await registerUser(node)
    await unitOfWork.run(async () => {
      const user = await unitOfWork.of(User).get(id)
      user.rename('before')
      await unitOfWork.of(User).save(user)
      await failOnce(async () => {
        user.rename('inside')
        await unitOfWork.of(User).save(user)
      })
      expect(user.version).toBe(3)
    })
    expect(await eventsOf(id)).toEqual(['registered', 'renamed', 'renamed'])
    expect(await rowOf(id)).toEqual({ name: 'inside', version: 3 })
  })

  test('and is retried writes each event once, for an aggregate loaded inside it', async () => {
    const { id } = await registerUser(node)
    await unitOfWork.run(() =>
      failOnce(async () => {
        const user = await unitOfWork.of(User).get(id)
        user.rename('inside')
        await unitOfWork.of(User).save(user)
      }),
    )
    expect(await eventsOf(id)).toEqual(['registered', 'renamed'])
    expect(await rowOf(id)).toEqual({ name: 'inside', version: 2 })
  })

  test('and is retried writes each event once, for an aggregate added inside it', async () => {
    const user = newUser()
    await unitOfWork.run(() =>
      failOnce(async () => {
        await unitOfWork.of(User).add(user)
        user.rename('inside')
        await unitOfWork.of(User).save(user)
      }),
    )
    expect(await eventsOf(user.id)).toEqual(['registered', 'renamed'])
    expect(await rowOf(user.id)).toEqual({ name: 'inside', version: 2 })
  })

  test('of two levels takes back what an inner one has released', async () => {
    const user = newUser()
    await unitOfWork.run(() =>
      failOnce(async () => {
        await unitOfWork.savepoint(() => unitOfWork.of(User).add(user))
      }),
    )
    expect(await eventsOf(user.id)).toEqual(['registered'])
  })

  test('after a removal outside it does not bring the removed aggregate back', async () => {
    const { id } = await registerUser(node)
    await unitOfWork.run(async () => {
      const users = unitOfWork.of(User)
      const user = await users.get(id)
      user.delete()
      await users.remove(user)
      await unitOfWork.savepoint(() => Promise.reject(new Error('inner'))).catch(() => {})
      expect(await users.find(id)).toBeUndefined()
    })
    expect(await rowOf(id)).toBeUndefined()
  })

  test('takes back a removal inside it', async () => {
    const { id } = await registerUser(node)
    await unitOfWork.run(async () => {
      const users = unitOfWork.of(User)
      const user = await users.get(id)
      const inner = unitOfWork.savepoint(async () => {
        user.delete()
        await users.remove(user)
        throw new Error('inner')
      })
      await inner.catch(() => {})
      user.rename('still there')
      await users.save(user)
    })
    expect(await eventsOf(id)).toEqual(['registered', 'renamed'])
    expect((await rowOf(id))?.name).toBe('still there')
  })

  test('a nested command that succeeds is undone with the outer one', async () => {
    const { id } = await registerUser(node)
    const outer = perform(node, async () => {
      await renameUser(node, id, 'never')
      throw new Error('outer command')
    })
    await expect(outer).rejects.toThrow('outer command')
    expect(await rowOf(id)).toEqual({ name: 'Ada', version: 1 })
    expect(await eventsOf(id)).toEqual(['registered'])
  })

  test('a nested command that fails and is survived leaves nothing either', async () => {
    const { id } = await registerUser(node)
    await perform(node, async (work) => {
      await expect(
        perform(node, async (inner) => {
          const user = await inner.of(User).get(id)
          user.rename('never')
          await inner.of(User).save(user)
          throw new Error('inner command')
        }),
      ).rejects.toThrow('inner command')
      const user = await work.of(User).get(id)
      expect(user.name).toBe('Ada')
      user.rename('outer')
      await work.of(User).save(user)
    })
    expect(await eventsOf(id)).toEqual(['registered', 'renamed'])
    expect((await rowOf(id))?.name).toBe('outer')
  })
})

describe('a commit is refused', () => {
  test('while an aggregate holds an event that was not written', async () => {
    const { id } = await registerUser(node)
    const forgotten = perform(node, async (work) => {
      const user = await work.of(User).get(id)
      user.rename('forgotten')
    })
    await expect(forgotten).rejects.toThrow(UnitOfWorkError)
    await expect(forgotten).rejects.toThrow('UserRenamed')
    expect(await rowOf(id)).toEqual({ name: 'Ada', version: 1 })
  })

  test('while an aggregate raised another event after it was saved', async () => {
    const { id } = await registerUser(node)
    const half = perform(node, async (work) => {
      const user = await work.of(User).get(id)
      user.rename('saved')
      await work.of(User).save(user)
      user.rename('forgotten')
    })
    await expect(half).rejects.toThrow(UnitOfWorkError)
    expect(await rowOf(id)).toEqual({ name: 'Ada', version: 1 })
  })

  describe('when an aggregate changes while its row is being written', () => {
    const writeWaits = (start: string) =>
      until('the write waits', async () => {
        const rows = await query(
          database,
          `select from pg_stat_activity
           where datname = current_database() and wait_event_type = 'Lock' and query ilike $1`,
          [`%${start}%`],
        )
        return rows.length === 1
      })

    /** The INSERT waits for another of the same email, which is taken back, until the change has been made. */
    async function changeDuringAdd(user: User, thenSave: boolean): Promise<unknown> {
      return withClient(database.url, async (holder) => {
        await holder.query('begin')
        await holder.query(
          `insert into user_account (id, email, name, permissions, version) values ($1, $2, 'holder', '{}', 1)`,
          [randomUUID(), user.email],
        )
        return unitOfWork.run(async () => {
          const adding = unitOfWork.of(User).add(user)
          await writeWaits('insert into "user_account"')
          user.rename('second')
          await holder.query('rollback')
          await adding
          if (thenSave) await unitOfWork.of(User).save(user)
        })
      })
    }

    /** The UPDATE waits for a lock until the change has been made. */
    async function changeDuringSave(id: string, thenSave: boolean): Promise<unknown> {
      return withClient(database.url, async (holder) => {
        await holder.query('begin')
        await holder.query('select from user_account where id = $1 for update', [id])
        return unitOfWork.run(async () => {
          const user = await unitOfWork.of(User).get(id)
          user.rename('first')
          const saving = unitOfWork.of(User).save(user)
          await writeWaits('update "user_account"')
          user.rename('second')
          await holder.query('commit')
          await saving
          if (thenSave) await unitOfWork.of(User).save(user)
        })
      })
    }

    test('for the first time, and is not saved afterwards', async () => {
      const user = newUser('first')
      await expect(changeDuringAdd(user, false)).rejects.toThrow('raised UserRenamed and was not saved')
      expect(await rowOf(user.id)).toBeUndefined()
    })

    test('but not where that is saved afterwards', async () => {
      const user = newUser('first')
      await changeDuringAdd(user, true)
      expect(await rowOf(user.id)).toEqual({ name: 'second', version: 2 })
      expect(await eventsOf(user.id)).toEqual(['registered', 'renamed'])
    })

    test('and is not saved again', async () => {
      const { id } = await registerUser(node)
      await expect(changeDuringSave(id, false)).rejects.toThrow('raised UserRenamed and was not saved')
      expect(await rowOf(id)).toEqual({ name: 'Ada', version: 1 })
    })

    test('but not where it is saved again: both changes are written, each with its event', async () => {
      const { id } = await registerUser(node)
      await changeDuringSave(id, true)
      expect(await rowOf(id)).toEqual({ name: 'second', version: 3 })
      expect(await eventsOf(id)).toEqual(['registered', 'renamed', 'renamed'])
    })
  })

  test('when a statement failed and its error was swallowed: Postgres would answer ROLLBACK without an error', async () => {
    const user = newUser()
    const swallowed = perform(node, async (work) => {
      await work.of(User).add(user)
      await requireScope()
        .resources.manager.query('select 1 / 0')
        .catch(() => {})
    })
    await expect(swallowed).rejects.toThrow(UnitOfWorkError)
    expect(await rowOf(user.id)).toBeUndefined()
    // The connection that went through this is as good as any other.
    await expect(registerUser(node)).resolves.toBeDefined()
  })
})

describe('a change that no cache would hear of is refused', () => {
  test('when a row changes without an event', async () => {
    const { id } = await registerUser(node)
    const silent = perform(node, async (work) => {
      const user = await work.of(User).get(id)
      user.permissions.push('sneaked in')
      await work.of(User).save(user)
    })
    await expect(silent).rejects.toThrow('raised no event')
  })

  test('when a row is added or removed without an event', async () => {
    const { id } = await registerUser(node)
    const user = newUser()
    user.forgetEventsAfter(0)
    await expect(perform(node, (work) => work.of(User).add(user))).rejects.toThrow('raised no event')
    await expect(
      perform(node, async (work) => work.of(User).remove(await work.of(User).get(id))),
    ).rejects.toThrow('raised no event')
    expect(await rowOf(id)).toBeDefined()
  })

  test('when an aggregate of another unit of work is saved', async () => {
    const { id } = await registerUser(node)
    const user = await perform(node, (work) => work.of(User).get(id))
    user.rename('smuggled')
    await expect(perform(node, (work) => work.of(User).save(user))).rejects.toThrow(UnitOfWorkError)
  })

  test('outside a unit of work, and after it has ended', async () => {
    await expect(unitOfWork.of(User).find(randomUUID())).rejects.toThrow(UnitOfWorkError)
    const gate = new Gate()
    const late: Promise<unknown>[] = []
    await perform(node, async (work) => {
      late.push(gate.opened.then(() => work.of(User).add(newUser())))
    })
    gate.open()
    await expect(late[0]).rejects.toThrow('has ended')
  })
})

describe('two writers', () => {
  test('of one row: the later one gets a ConcurrencyError, not the last word', async () => {
    const { id } = await registerUser(node)
    const late = unitOfWork.run(async () => {
      const user = await unitOfWork.of(User).get(id)
      await elsewhere(() => renameUser(other, id, 'faster'))
      user.rename('slower')
      await unitOfWork.of(User).save(user)
    })
    await expect(late).rejects.toThrow(ConcurrencyError)
    expect(await rowOf(id)).toEqual({ name: 'faster', version: 2 })
    expect(await eventsOf(id)).toEqual(['registered', 'renamed'])
  })

  test('the command bus runs the later one again, from the start', async () => {
    const { id } = await registerUser(node)
    let runs = 0
    await perform(node, async (work) => {
      const user = await work.of(User).get(id)
      if (++runs === 1) await elsewhere(() => renameUser(other, id, 'faster'))
      user.rename(`${user.name} and slower`)
      await work.of(User).save(user)
    })
    expect(runs).toBe(2)
    expect((await rowOf(id))?.name).toBe('faster and slower')
  })

  test('ten at once on one row lose no update', async () => {
    const { id } = await registerUser(node, '0')
    let done = 0
    const increment = async (on: Node) => {
      // The bus gives up after some attempts; whoever then asks again must still find every other increment.
      for (;;) {
        try {
          await perform(on, async (work) => {
            const user = await work.of(User).get(id)
            user.rename(String(Number(user.name) + 1))
            await work.of(User).save(user)
          })
          done++
          return
        } catch (error) {
          if (!(error instanceof ConcurrencyError)) throw error
        }
      }
    }
    await Promise.all(Array.from({ length: 10 }, (_, index) => increment(index % 2 ? node : other)))
    expect(done).toBe(10)
    expect(await rowOf(id)).toEqual({ name: '10', version: 11 })
    expect(await eventsOf(id)).toHaveLength(11)
  })

  test('that add the same row at once: one is told to run again', async () => {
    const id = randomUUID()
    const add = (on: Node) =>
      perform(on, async (work) => {
        const known = await work.of(User).find(id)
        if (known) return 'found'
        await work.of(User).add(User.register(id, `${id}@example.org`, 'Ada'))
        return 'added'
      })
    const results = await Promise.all([add(node), add(other), add(node), add(other)])
    expect(results.toSorted()).toEqual(['added', 'found', 'found', 'found'])
    expect(await eventsOf(id)).toEqual(['registered'])
  })
})

describe('inside a unit of work', () => {
  test('a cached query sees what the command has written, and no cache ever does before the commit', async () => {
    const { id } = await registerUser(node)
    await appliedEverywhere()
    await getUser(node, id)
    await expect(
      perform(node, async (work) => {
        const user = await work.of(User).get(id)
        user.rename('uncommitted')
        await work.of(User).save(user)
        expect((await getUser(node, id))?.name).toBe('uncommitted')
        throw new Error('rolled back')
      }),
    ).rejects.toThrow('rolled back')
    expect((await getUser(node, id))?.name).toBe('Ada')
    expect((await getUser(other, id))?.name).toBe('Ada')
  })

  test('a cached query joins no load that began outside, and is joined by none', async () => {
    const { id } = await registerUser(node)
    await appliedEverywhere()
    const [written, finish] = [new Gate(), new Gate()]
    const command = perform(node, async (work) => {
      const user = await work.of(User).get(id)
      user.rename('uncommitted')
      await work.of(User).save(user)
      const inside = getUser(node, id)
      written.open()
      expect((await inside)?.name).toBe('uncommitted')
      await finish.opened
    })
    await written.opened
    expect((await getUser(node, id))?.name).toBe('Ada')
    finish.open()
    await command
    await appliedEverywhere()
    expect((await getUser(node, id))?.name).toBe('uncommitted')
  })

  test('set is a removal, and removals are part of the transaction', async () => {
    const { id } = await registerUser(node)
    await appliedEverywhere()
    const before = await getUser(other, id)
    const cache = node.parts.queryBus.cacheOf(getUserQuery())!
    const stamp = cache.capture()
    await perform(node, () => cache.set(id, { name: 'never' }, { stamp }))
    await appliedEverywhere()
    const misses = () => other.parts.queryBus.cacheOf(getUserQuery())!.statistics.misses
    const missed = misses()
    expect(await getUser(other, id)).toEqual(before)
    expect(misses()).toBe(missed + 1)
    expect(await getUser(node, id)).toEqual(before)
  })
})

describe('a connection that breaks during COMMIT', () => {
  test('is reported as an unknown outcome, not as a failure, and the command is not run again', async () => {
    await query(
      database,
      `create function die() returns trigger language plpgsql as $$
       begin perform pg_terminate_backend(pg_backend_pid()); return null; end $$`,
    )
    await query(
      database,
      `create constraint trigger die after insert on user_account deferrable initially deferred
       for each row when (new.name = 'dies at commit') execute function die()`,
    )
    let runs = 0
    const broken = perform(node, async (work) => {
      runs++
      await work.of(User).add(newUser('dies at commit'))
    })
    await expect(broken).rejects.toThrow(CommitOutcomeUnknownError)
    expect(runs).toBe(1)
    await expect(registerUser(node)).resolves.toBeDefined()
  })

  test('after Postgres has committed: the write is there, and every node hears of it', async () => {
    const swallower = await startReplySwallower(database.url)
    const unlucky = await startTestNode(database, { databaseUrl: swallower.url, env: rareChecks })
    try {
      const { id } = await registerUser(node)
      // Or the COMMIT of an event handler might be the one whose reply is swallowed.
      await appliedEverywhere()
      await getUser(other, id)
      let runs = 0
      const broken = perform(unlucky, async (work) => {
        runs++
        const user = await work.of(User).get(id)
        user.rename('committed after all')
        await work.of(User).save(user)
        swallower.swallowReplyTo('COMMIT')
      })
      await expect(broken).rejects.toThrow(CommitOutcomeUnknownError)
      expect(runs).toBe(1)
      expect((await rowOf(id))?.name).toBe('committed after all')
      await other.parts.check.run()
      expect((await getUser(other, id))?.name).toBe('committed after all')
    } finally {
      await unlucky.stop()
      await swallower.close()
    }
  })
})

describe('the answer to a write', () => {
  test('is a token with which every node shows that write', async () => {
    const { id } = await registerUser(node)
    const { check, applied } = node.parts
    const { Consistency } = await import('../../../src/kernel/journal/consistency.js')
    for (let round = 0; round < 20; round++) {
      const write = new Consistency(check, applied)
      await renameUser(node, id, `round ${round}`, write)
      expect(write.token).toBeDefined()
      const read = new Consistency(other.parts.check, other.parts.applied, write.token)
      expect((await getUser(other, id, read))?.name).toBe(`round ${round}`)
    }
  })
})
