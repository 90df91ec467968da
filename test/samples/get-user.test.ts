import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { ChangeUser } from '../../src/modules/users/commands/change-user.js'
import { DeleteUser } from '../../src/modules/users/commands/delete-user.js'
import { SetPermissions } from '../../src/modules/users/commands/set-permissions.js'
import { UserRegistered } from '../../src/modules/users/domain/user-events.js'
import type { UserView } from '../../src/modules/users/user-view.js'
import type { Node } from '../../src/node.js'
import { createFreshDatabase, type FreshDatabase, query } from '../support/fresh-database.js'
import { startTestNode } from '../support/test-node.js'
import { freshEmail, getUser, registerUser } from '../support/users.js'

let database: FreshDatabase
let writer: Node
let reader: Node
beforeAll(async () => {
  database = await createFreshDatabase()
  writer = await startTestNode(database, { redis: false })
  reader = await startTestNode(database, { redis: false })
})
afterAll(async () => {
  for (const node of [writer, reader]) await node.stop()
  await database.drop()
})

/** The answer that the reading node has cached: changes by hand raise no event, so it does not show them. */
async function cachedUser(): Promise<UserView> {
  const user = await registerUser(writer)
  await reader.parts.check.run()
  expect(await getUser(reader, user.id)).toEqual(user)
  await query(database, 'update user_account set name = $2 where id = $1', [user.id, 'by hand'])
  expect(await getUser(reader, user.id)).toEqual(user)
  return user
}

const email = freshEmail()
test.each([
  ['name', (userId: string) => new ChangeUser({ userId, name: 'Grace' }), { name: 'Grace' }],
  ['email', (userId: string) => new ChangeUser({ userId, email }), { email }],
  [
    'permissions',
    (userId: string) => new SetPermissions({ userId, permissions: ['orders:read'] }),
    { permissions: ['orders:read'] },
  ],
])(
  'a cached user is not served any more by the other node after a change of the %s',
  async (_, command, changed) => {
    const { id } = await cachedUser()
    await writer.parts.commandBus.execute(command(id))
    await reader.parts.check.run()
    expect(await getUser(reader, id)).toMatchObject(changed)
  },
)

test('a cached user is not served any more by the other node after a deletion', async () => {
  const { id } = await cachedUser()
  await writer.parts.commandBus.execute(new DeleteUser({ userId: id }))
  await reader.parts.check.run()
  expect(await getUser(reader, id)).toBeNull()
})

test('that there is no user is cached, until there is one', async () => {
  const id = randomUUID()
  expect(await getUser(reader, id)).toBeNull()
  const row = { userId: id, email: freshEmail(), name: 'Ada' }
  await query(
    database,
    "insert into user_account (id, email, name, permissions, version) values ($1, $2, $3, '{}', 1)",
    Object.values(row),
  )
  expect(await getUser(reader, id)).toBeNull()
  await writer.parts.outbox.write([new UserRegistered(row)])
  await reader.parts.check.run()
  expect(await getUser(reader, id)).toMatchObject({ id, name: 'Ada' })
})
