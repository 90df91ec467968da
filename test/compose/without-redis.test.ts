import { expect, test } from '@jest/globals'
import { composeUp, until } from '../kit/compose.js'

const cluster = await composeUp()

test('A node that is cut from Redis sees what another one writes', async () => {
  const [writer, reader] = [cluster.node('node-1'), cluster.node('node-3')]
  const { body: user } = await writer.post('/users', { email: 'ada@example.org', name: 'Ada' })
  const seenName = async () => (await reader.get(`/users/${user.id}`)).body.name
  expect(await seenName()).toBe('Ada')
  await cluster.cut('node-3', 'redis')
  await writer.patch(`/users/${user.id}`, { name: 'Ada Lovelace' })
  await until('node-3 sees it', async () => expect(await seenName()).toBe('Ada Lovelace'), 2_000)
})
