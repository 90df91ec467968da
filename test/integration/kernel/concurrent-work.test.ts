import { AsyncLocalStorage } from 'node:async_hooks'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { ConcurrencyError, UnitOfWorkError } from '../../../src/kernel/persistence/persistence-errors.js'
import type { UnitOfWork } from '../../../src/kernel/persistence/unit-of-work.js'
import { ChangeUser } from '../../../src/modules/users/commands/change-user.js'
import { User } from '../../../src/modules/users/domain/user.js'
import type { Node } from '../../../src/node.js'
import { createFreshDatabase, type FreshDatabase, query } from '../../support/fresh-database.js'
import { Gate } from '../../support/gate.js'
import { perform } from '../../support/scripted-module.js'
import { rareChecks, startTestNode } from '../../support/test-node.js'
import { until } from '../../support/until.js'
import { registerUser, renameUser } from '../../support/users.js'

/** Runs something as another client would: not in the transaction of the script that it stands in. */
const elsewhere = AsyncLocalStorage.snapshot()

let database: FreshDatabase
let node: Node
let unitOfWork: UnitOfWork

beforeAll(async () => {
  database = await createFreshDatabase()
  node = await startTestNode(database, { env: rareChecks })
  unitOfWork = node.parts.unitOfWork
})
afterAll(async () => {
  await node.stop()
  await database.drop()
})

/** The names that a user's row and its events claim it has had: what one shows and the other not was torn apart. */
async function accountOf(userId: string): Promise<{ name: string; version: number; renamedTo: string[] }> {
  const [row] = await query<{ name: string; version: number; renamed: string[] }>(
    database,
    `select name, version, array(select payload->>'name' from aftercommit_kernel.outbox_message
       where type = 'users.user-renamed' and payload->>'userId' = u.id::text order by id) as renamed
     from user_account u where id = $1`,
    [userId],
  )
  return { name: row!.name, version: row!.version, renamedTo: row!.renamed }
}

const untouched = { name: 'Ada', version: 1, renamedTo: [] }
const renamedTo = (name: string) => ({ name, version: 2, renamedTo: [name] })

/** No connection has kept a transaction, and with it its locks. */
function allTransactionsEnded(): Promise<void> {
  return until('no transaction is left open', async () => {
    const open = await query(
      database,
      `select from pg_stat_activity
       where datname = current_database() and pid <> pg_backend_pid() and state like 'idle in transaction%'`,
    )
    return open.length === 0
  })
}

async function twoUsers(): Promise<[string, string]> {
  return [(await registerUser(node)).id, (await registerUser(node)).id]
}

/** Saves two aggregates at once, of which the first has been overtaken. The saves outlive what they reject. */
async function saveBothAtOnce(ids: readonly [string, string], saves: Promise<void>[]): Promise<void> {
  const users = unitOfWork.of(User)
  const [a, b] = [await users.get(ids[0]), await users.get(ids[1])]
  await elsewhere(() => renameUser(node, ids[0], 'faster'))
  a.rename('slower')
  b.rename('beside it')
  saves.push(users.save(a), users.save(b))
  await Promise.all(saves)
}

describe('two saves at once, of which one fails', () => {
  test('leave nothing of the other one after the ROLLBACK', async () => {
    const ids = await twoUsers()
    const saves: Promise<void>[] = []
    await expect(unitOfWork.run(() => saveBothAtOnce(ids, saves))).rejects.toThrow(ConcurrencyError)
    await Promise.allSettled(saves)
    expect(await accountOf(ids[0])).toEqual(renamedTo('faster'))
    expect(await accountOf(ids[1])).toEqual(untouched)
  })

  test('leave nothing of the other one after a savepoint’s ROLLBACK, while the outer one commits', async () => {
    const ids = await twoUsers()
    const outer = (await registerUser(node)).id
    const saves: Promise<void>[] = []
    await unitOfWork.run(async () => {
      const inner = unitOfWork.run(() => saveBothAtOnce(ids, saves))
      await expect(inner).rejects.toThrow(ConcurrencyError)
      await renameUser(node, outer, 'kept')
      await Promise.allSettled(saves)
    })
    expect(await accountOf(ids[0])).toEqual(renamedTo('faster'))
    expect(await accountOf(ids[1])).toEqual(untouched)
    expect(await accountOf(outer)).toEqual(renamedTo('kept'))
  })

  test.each(['run', 'savepoint'] as const)('a %s whose save nobody awaits is refused', async (kind) => {
    const { id } = await registerUser(node)
    let save: Promise<void> | undefined
    const forgetful = async () => {
      const user = await unitOfWork.of(User).get(id)
      user.rename('forgotten')
      save = unitOfWork.of(User).save(user)
    }
    const outcome =
      kind === 'run' ? unitOfWork.run(forgetful) : unitOfWork.run(() => unitOfWork.savepoint(forgetful))
    await expect(outcome).rejects.toThrow(UnitOfWorkError)
    await Promise.allSettled([save])
    expect(await accountOf(id)).toEqual(untouched)
  })
})

describe('two nested commands at once', () => {
  const rename = (userId: string, name: string) =>
    node.parts.commandBus.execute(new ChangeUser({ userId, name }))

  /** Whatever was reported of the nested commands and of the handler around them is what the database shows. */
  async function expectAgreement(
    committed: boolean,
    outcomes: readonly PromiseSettledResult<unknown>[],
    ids: readonly string[],
  ): Promise<void> {
    for (const [index, id] of ids.entries()) {
      const succeeded = committed && outcomes[index]?.status === 'fulfilled'
      expect(await accountOf(id)).toEqual(succeeded ? renamedTo(`new ${index}`) : untouched)
    }
  }

  const errorOf = (outcome: PromiseSettledResult<unknown> | undefined) =>
    outcome?.status === 'rejected' ? (outcome.reason as unknown) : undefined

  test.each([0, 1, 3, 8])('the second, %i ms later, is refused; what succeeded is committed', async (ms) => {
    const ids = await twoUsers()
    const held = new Gate()
    const outcomes = await perform(node, async () => {
      const first = perform(node, async () => {
        await rename(ids[0], 'new 0')
        await held.opened
      })
      if (ms > 0) await new Promise((resolve) => setTimeout(resolve, ms))
      const second = rename(ids[1], 'new 1')
      await second.catch(() => {})
      held.open()
      return Promise.allSettled([first, second])
    })
    expect(outcomes[0].status).toBe('fulfilled')
    expect(errorOf(outcomes[1])).toBeInstanceOf(UnitOfWorkError)
    await expectAgreement(true, outcomes, ids)
  })

  test.each([0, 1, 2, 3, 5])(
    'a failing one and one %i ms later do not decide over each other',
    async (ms) => {
      const ids = await twoUsers()
      const later = async (work: () => Promise<unknown>) => {
        if (ms > 0) await new Promise((resolve) => setTimeout(resolve, ms))
        return work()
      }
      let outcomes: PromiseSettledResult<unknown>[] = []
      const outer = perform(node, async () => {
        const failing = perform(node, async () => {
          await rename(ids[0], 'new 0')
          await new Promise((resolve) => setTimeout(resolve, 3))
          throw new Error('the first fails')
        })
        outcomes = await Promise.allSettled([failing, later(() => rename(ids[1], 'new 1'))])
      })
      const committed = await outer.then(
        () => true,
        () => false,
      )
      expect(outcomes[0]?.status).toBe('rejected')
      await expectAgreement(committed, outcomes, ids)
      await allTransactionsEnded()
    },
  )

  test.each([0, 1, 2, 3, 5])(
    'a handler that gives up while one is still running, %i ms after it began, leaves nothing',
    async (ms) => {
      const ids = await twoUsers()
      const running: Promise<unknown>[] = []
      const outer = perform(node, async () => {
        running.push(rename(ids[0], 'new 0'))
        if (ms > 0) await new Promise((resolve) => setTimeout(resolve, ms))
        // Refused while the first is open, and then the handler rejects before the first has ended.
        running.push(rename(ids[1], 'new 1').then(() => Promise.reject(new Error('the handler gives up'))))
        await Promise.all(running)
      })
      await expect(outer).rejects.toThrow()
      await Promise.allSettled(running)
      await allTransactionsEnded()
      for (const id of ids) expect(await accountOf(id)).toEqual(untouched)
      // Neither the rows nor the connections are the worse for it.
      await Promise.all(Array.from({ length: 12 }, () => registerUser(node)))
      await rename(ids[0], 'new 0')
      expect(await accountOf(ids[0])).toEqual(renamedTo('new 0'))
    },
  )

  test('one that is held open while its handler gives up has nothing of it committed later', async () => {
    const [id, next] = await twoUsers()
    const held = new Gate()
    let inner: Promise<unknown> | undefined
    const outer = perform(node, async () => {
      inner = perform(node, async () => {
        await rename(id, 'never')
        await held.opened
        await rename(id, 'never either')
      })
      inner.catch(() => {})
      await new Promise((resolve) => setTimeout(resolve, 30))
      throw new Error('the handler gives up')
    })
    await expect(outer).rejects.toThrow('the handler gives up')
    // A connection that still held the transaction would take these into it.
    await Promise.all(Array.from({ length: 12 }, () => registerUser(node)))
    await rename(next, 'kept')
    held.open()
    await Promise.allSettled([inner])
    await allTransactionsEnded()
    expect(await accountOf(id)).toEqual(untouched)
    expect(await accountOf(next)).toEqual(renamedTo('kept'))
  })
})

describe('while a savepoint is open', () => {
  test('work in the scope around it is refused, and may go on after it', async () => {
    const [inside, around] = await twoUsers()
    const held = new Gate()
    await unitOfWork.run(async () => {
      const users = unitOfWork.of(User)
      const user = await users.get(around)
      user.rename('around')
      const savepoint = unitOfWork.savepoint(async () => {
        await renameUser(node, inside, 'inside')
        await held.opened
      })
      await expect(users.save(user)).rejects.toThrow(UnitOfWorkError)
      await expect(users.find(inside)).rejects.toThrow(UnitOfWorkError)
      await expect(unitOfWork.savepoint(async () => {})).rejects.toThrow(UnitOfWorkError)
      await expect(node.parts.caches.all[0]!.remove(inside)).rejects.toThrow(UnitOfWorkError)
      held.open()
      await savepoint
      await users.save(user)
    })
    expect(await accountOf(inside)).toEqual(renamedTo('inside'))
    expect(await accountOf(around)).toEqual(renamedTo('around'))
  })
})
