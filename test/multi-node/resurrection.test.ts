import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import type { NodeProcess } from '../../tools/local-stack/index.js'
import { isThorough } from '../support/depth.js'
import { getUser, pause, registerUser, renameUser, type User, until, warm } from './client.js'
import { type Cluster, startCluster } from './cluster.js'

const holdMs = 500
const overlaps = isThorough ? 100 : 25

/** A slow node beside two usual ones; every load of the slow one is held at one point. */
describe.each([
  ['before the database is read', 'before-load'],
  ['after the old row was read', 'after-load-read'],
  ['between the load and the store', 'before-store'],
  ['while L2 is copied to L1', 'before-l2-copy'],
])('a load that is held %s', (_title, point) => {
  let cluster: Cluster
  let slow: NodeProcess
  let users: User[]

  beforeAll(async () => {
    cluster = await startCluster({}, {})
    slow = await cluster.add({ env: { FAULTS: `${point}:hold:${holdMs}` } })
    const [first] = cluster.nodes
    const answers = await Promise.all(Array.from({ length: overlaps }, () => registerUser(first!)))
    users = answers.map(({ body }) => body)
  })
  afterAll(() => cluster.stop())

  test(`overlaps a write ${overlaps} times, and the old value is never served afterwards, from any tier`, async () => {
    const [first, second] = cluster.nodes
    // In L2 only, so that the slow node's copy has something to be slow about.
    if (point === 'before-l2-copy') {
      for (const { id } of users) await warm(second!, id)
    }
    const held = users.map(({ id }) => getUser(slow, id))
    await pause(holdMs / 5)
    const written = await Promise.all(users.map(({ id }) => renameUser(first!, id, `new ${id}`)))
    const tokens = written.map(({ headers }) => headers.get('consistency-token')!)
    // Arrives while the old flight is under way, and knows of the write: it must not join.
    const meanwhile = await Promise.all(
      users.map(({ id }, index) => getUser(slow, id, { 'consistency-token': tokens[index]! })),
    )
    expect(meanwhile.map(({ body }) => body.name)).toEqual(users.map(({ id }) => `new ${id}`))
    await Promise.all(held)
    for (const node of [first!, second!, slow]) {
      const afterwards = await Promise.all(users.map(({ id }) => getUser(node, id)))
      for (const { body } of afterwards) expect(body.name).toBe(`new ${body.id}`)
    }
    // By now every tier of the slow node has been filled again; each alone has the new value, or none.
    for (const tier of ['l1', 'l2', 'database']) {
      const alone = await Promise.all(users.map(({ id }) => getUser(slow, id, { 'read-tier': tier })))
      const found = alone.filter(({ status }) => status !== 404)
      for (const { body } of found) expect(body.name).toBe(`new ${body.id}`)
      expect(found.length).toBeGreaterThan(tier === 'database' ? overlaps - 1 : 0)
    }
  }, 120_000)

  test('a request without a token that arrives after the invalidation does not join the old flight', async () => {
    const [first] = cluster.nodes
    const { id } = (await registerUser(first!)).body
    if (point === 'before-l2-copy') await warm(first!, id)
    const held = getUser(slow, id)
    await pause(holdMs / 5)
    const { headers } = await renameUser(first!, id, 'new')
    // A read with the token waits until the slow node has applied the write; the next one need not say so.
    const other = await registerUser(first!)
    await until('the slow node has applied the write', async () => {
      const answer = await getUser(slow, other.body.id, {
        'consistency-token': headers.get('consistency-token')!,
      })
      return answer.status === 200
    })
    expect((await getUser(slow, id)).body.name).toBe('new')
    await held
  })
})
