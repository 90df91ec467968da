import { afterAll, beforeAll, expect, test } from '@jest/globals'
import type { Node } from '../../src/node.js'
import { Trouble } from '../kit/chaos.js'
import { createFreshDatabase, type FreshDatabase } from '../support/fresh-database.js'
import { seed } from '../support/seed.js'
import { startTestNode } from '../support/test-node.js'
import { until } from '../support/until.js'
import { getUser, registerUser, renameUser } from '../support/users.js'
import { inTrouble, wrappersFor } from './trouble.js'

let database: FreshDatabase
let nodes: [Node, Node]
const trouble = new Trouble({ seed })
beforeAll(async () => {
  database = await createFreshDatabase()
  const start = () => startTestNode(database, { wrappers: wrappersFor(trouble) })
  nodes = [await start(), await start()]
})
afterAll(async () => {
  for (const node of nodes) await node.stop()
  await database.drop()
})

test('a write in trouble reaches the memory of the other node, and after the trouble reads go on', async () => {
  const [writer, reader] = nodes
  const { id } = await registerUser(writer)
  await getUser(reader, id)
  await inTrouble(trouble, async () => {
    await renameUser(writer, id, 'Grace')
    await until('the other node shows it', async () => (await getUser(reader, id))?.name === 'Grace')
  })
  expect(await getUser(reader, id)).toMatchObject({ name: 'Grace' })
})
