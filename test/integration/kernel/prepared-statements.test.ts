import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { UnitOfWork } from '../../../src/kernel/persistence/unit-of-work.js'
import { User } from '../../../src/modules/users/domain/user.js'
import type { Node } from '../../../src/node.js'
import { createFreshDatabase, type FreshDatabase, query } from '../../support/fresh-database.js'
import { startTestNode } from '../../support/test-node.js'
import { registerUser, renameUser } from '../../support/users.js'

let database: FreshDatabase
let node: Node

beforeAll(async () => {
  database = await createFreshDatabase()
  node = await startTestNode(database)
})
afterAll(async () => {
  await node.stop()
  await database.drop()
})

/** At once, so that every connection of the pool has prepared what commands need. */
function renameAll(ids: readonly string[], name: string): Promise<unknown> {
  return Promise.all(ids.map((id) => renameUser(node, id, name)))
}

describe('commands go on', () => {
  test('after a migration has changed the type of a column that their statements return', async () => {
    const users = await Promise.all(Array.from({ length: 16 }, () => registerUser(node)))
    const ids = users.map(({ id }) => id)
    await renameAll(ids, 'before')
    await query(database, 'alter table user_account alter column name type varchar(200)')
    await renameAll(ids, 'after')
    expect(await query(database, `select from user_account where name = 'after'`)).toHaveLength(16)
  })

  test('after a pooler has dropped what was prepared on a connection', async () => {
    const { id } = await registerUser(node)
    await renameUser(node, id, 'before')
    await node.parts.connections.borrow((runner) => runner.query('deallocate all'))
    expect((await renameUser(node, id, 'after')).name).toBe('after')
  })
})

test('a save that finds another version writes neither row nor event', async () => {
  const { id } = await registerUser(node)
  const unitOfWork = node.parts.container.get(UnitOfWork)
  const saving = unitOfWork.run(async () => {
    const users = unitOfWork.of(User)
    const user = await users.get(id)
    await query(database, 'update user_account set version = version + 1 where id = $1', [id])
    user.rename('too late')
    await users.save(user)
  })
  await expect(saving).rejects.toThrow('was changed by somebody else')
  const written = await query(
    database,
    `select from aftercommit_kernel.outbox_message where payload->>'name' = 'too late'`,
  )
  expect(written).toHaveLength(0)
})
