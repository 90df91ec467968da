import { afterAll, beforeAll, expect, test } from '@jest/globals'
import type { Node } from '../../src/node.js'
import { codeBlocksOf } from '../support/code-blocks.js'
import { createFreshDatabase, type FreshDatabase } from '../support/fresh-database.js'
import { startTestNode } from '../support/test-node.js'
import { until } from '../support/until.js'
import { getUser, registerUser, renameUser } from '../support/users.js'

let database: FreshDatabase
let node: Node
beforeAll(async () => {
  database = await createFreshDatabase()
  node = await startTestNode(database, { redis: false })
})
afterAll(async () => {
  await node.stop()
  await database.drop()
})

/** Tokens differ in each database. */
const withoutToken = (headers: string) => headers.replace(/(?<=Consistency-Token: )[\da-f]{16}\.\d+/, 'TOKEN')

test('an answer says which tier it is from, its version, and how far the node had come', async () => {
  const { id } = await registerUser(node)
  await renameUser(node, id, 'Ada Lovelace')
  await getUser(node, id)
  let answer = new Response()
  await until('all that was written has a position', async () => {
    answer = await fetch(`${node.url}/users/${id}`)
    return !answer.headers.get('Consistency-Token')?.endsWith('.pending')
  })
  const { status, statusText, headers } = answer
  const [shown] = codeBlocksOf('README.md').filter(({ info }) => info.startsWith('http '))
  const names = shown?.code.slice(1).map((line) => line.slice(0, line.indexOf(':'))) ?? []
  expect(names.length).toBeGreaterThan(0)
  const given = names.map((name) => `${name}: ${headers.get(name)}`)
  expect(withoutToken([`HTTP/1.1 ${status} ${statusText}`, ...given].join('\n'))).toBe(
    withoutToken(shown?.code.join('\n') ?? ''),
  )
})
