import { randomUUID } from 'node:crypto'
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals'
import type { Node } from '../../../src/node.js'
import { modules } from '../../../src/service-modules.js'
import {
  createFreshDatabase,
  type FreshDatabase,
  query,
  setBackIn,
  withClient,
} from '../../support/fresh-database.js'
import { scriptedModule } from '../../support/scripted-module.js'
import { rareChecks, startTestNode } from '../../support/test-node.js'
import { until } from '../../support/until.js'
import { getUser, registerUser, renameUser } from '../../support/users.js'

/** Without event handlers no position is taken by what they write: the test alone numbers. */
const offered = [...modules, scriptedModule].map((module) => ({
  ...module,
  handlers: (module.handlers ?? []).filter(({ name }) => !/Reaction|WriteWelcomeMessage/.test(name)),
}))

let database: FreshDatabase
let nodes: Node[]

beforeEach(async () => {
  database = await createFreshDatabase()
  nodes = [
    await startTestNode(database, { env: rareChecks, offered }),
    await startTestNode(database, { env: rareChecks, offered }),
  ]
})
afterEach(async () => {
  for (const node of nodes) await node.stop()
  await database.drop()
})

async function appliedEverywhere(): Promise<void> {
  await until('both nodes have applied the head', async () => {
    const [row] = await query<{ position: string }>(
      database,
      'select position from aftercommit_kernel.journal_head',
    )
    return nodes.every(({ parts }) => parts.applied.position === Number(row?.position))
  })
}

/** Sets the outbox back, as the restore of a dump would, and renames users in the history that begins there. */
async function restoreTo(head: number, renamed: readonly { id: string; name: string }[]): Promise<void> {
  await withClient(database.url, async (client) => {
    await client.query('begin')
    await setBackIn(client, head)
    for (const { id, name } of renamed) {
      await client.query('update user_account set name = $2, version = version + 1 where id = $1', [id, name])
      await client.query(
        `insert into aftercommit_kernel.outbox_message (type, payload)
         values ('users.user-renamed', jsonb_build_object('userId', $1::text, 'name', $2::text))`,
        [id, name],
      )
    }
    await client.query('commit')
    // One call for each event: every position of the new history has a numbering id of its own.
    for (const _ of renamed) await client.query('select aftercommit_kernel.number_outbox(1)')
  })
}

/** As the dispatcher of a node that has begun in the restored database would, with one hint or with several. */
async function hintAtAllThatFollows({ parts: { applied, subscriber } }: Node): Promise<void> {
  const [row] = await query<{ messages: [number, string, string, unknown][] }>(
    database,
    `select json_agg(json_build_array(position, numbering_id, type, payload) order by position) as messages
     from aftercommit_kernel.outbox_message where position > $1`,
    [applied.position],
  )
  for (const [position, numberingId, type, payload] of row!.messages) {
    const messages = [{ position, numberingId, type, payload }]
    subscriber.hint({ epoch: applied.epoch, head: position, messages })
    expect(applied.position).toBe(position)
  }
}

describe('a database that was set back and has grown beyond a node’s position', () => {
  /**
   * @param checks how many checks the nodes make after the last event of the old history: after the first, what they
   *   have applied is known to be of the database that they read, and nothing is left to ask about
   */
  async function renameInAnotherHistory(checks: number): Promise<{ id: string; epoch: string }> {
    const [writer] = nodes as [Node, Node]
    const { id } = await registerUser(writer, 'old')
    const { id: other } = await registerUser(writer, 'other')
    await appliedEverywhere()
    const kept = writer.parts.applied.position
    for (let i = 0; i < 3; i++) await renameUser(writer, other, `lost ${i}`)
    await appliedEverywhere()
    for (let i = 0; i < checks; i++) for (const node of nodes) await node.parts.check.run()
    const { epoch, position } = writer.parts.applied
    expect(position).toBe(kept + 3)
    for (const node of nodes) expect((await getUser(node, id))?.name).toBe('old')
    // At kept + 1 the new history says what this node will never hear of: it has applied that position already.
    await restoreTo(kept, [
      { id, name: 'new' },
      { id: other, name: 'another' },
      { id: other, name: 'yet another' },
      { id: other, name: 'and another' },
    ])
    expect(writer.parts.applied.epoch).toBe(epoch)
    return { id, epoch }
  }

  async function expectNewEpoch({ id, epoch }: { id: string; epoch: string }): Promise<void> {
    for (const node of nodes) {
      await node.parts.check.run()
      expect(node.parts.applied.epoch).not.toBe(epoch)
      expect((await getUser(node, id))?.name).toBe('new')
    }
    expect(new Set(nodes.map(({ parts }) => parts.applied.epoch)).size).toBe(1)
  }

  describe.each([0, 1, 2, 3])('with %i checks since the last event of the old one', (checks) => {
    test('is a new epoch to the next check', async () => {
      await expectNewEpoch(await renameInAnotherHistory(checks))
    })

    test('is a new epoch though the node itself has dispatched a write into it', async () => {
      const history = await renameInAnotherHistory(checks)
      const [writer, listener] = nodes as [Node, Node]
      // Else that node would find the gap, and enter the new epoch before this one checks.
      await listener.parts.subscriber.stop()
      const { position } = writer.parts.applied
      await registerUser(writer)
      await until('a dispatch has applied it', () => writer.parts.applied.position > position)
      await expectNewEpoch(history)
    })

    test('is a new epoch though hints alone have carried a node into it', async () => {
      const history = await renameInAnotherHistory(checks)
      await hintAtAllThatFollows(nodes[0] as Node)
      await expectNewEpoch(history)
    })
  })

  test('is a new epoch to a node that began at the head of the old one and was told of the rest', async () => {
    const [first] = nodes as [Node, Node]
    const { id } = await registerUser(first, 'old')
    const { id: other } = await registerUser(first, 'other')
    await appliedEverywhere()
    const kept = first.parts.applied.position
    await renameUser(first, other, 'lost')
    const late = await startTestNode(database, { env: { ...rareChecks, REPLAY_AT_START: '0' }, offered })
    nodes.unshift(late)
    const { epoch } = late.parts.applied
    expect((await getUser(late, id))?.name).toBe('old')
    await restoreTo(kept, [
      { id, name: 'new' },
      { id: other, name: 'another' },
    ])
    await hintAtAllThatFollows(late)
    await expectNewEpoch({ id, epoch })
  })

  test('of the same length, with other numbering, is a new epoch', async () => {
    const [writer] = nodes as [Node, Node]
    const { id } = await registerUser(writer, 'old')
    await renameUser(writer, id, 'lost')
    await appliedEverywhere()
    const { epoch, position } = writer.parts.applied
    for (const node of nodes) expect((await getUser(node, id))?.name).toBe('lost')
    await restoreTo(position - 1, [{ id, name: 'new' }])
    await expectNewEpoch({ id, epoch })
  })

  test('twice is two new epochs', async () => {
    const first = await renameInAnotherHistory(1)
    await expectNewEpoch(first)
    const [writer] = nodes as [Node, Node]
    const { epoch, position } = writer.parts.applied
    await renameUser(writer, first.id, 'lost again')
    await appliedEverywhere()
    for (const node of nodes) await getUser(node, first.id)
    await restoreTo(position, [
      { id: first.id, name: 'interim' },
      { id: first.id, name: 'new' },
    ])
    await registerUser(writer)
    await expectNewEpoch({ id: first.id, epoch })
  })

  test('a history that only goes on is no new epoch, however it is numbered', async () => {
    const [writer] = nodes as [Node, Node]
    const { id } = await registerUser(writer, 'old')
    const { epoch } = writer.parts.applied
    for (let round = 0; round < 6; round++) {
      await Promise.all([
        renameUser(writer, id, randomUUID()),
        registerUser(nodes[1] as Node),
        registerUser(writer),
      ])
      for (const node of nodes) if (round % 2) await node.parts.check.run()
    }
    for (const node of nodes) {
      await node.parts.check.run()
      expect(node.parts.applied.epoch).toBe(epoch)
      expect(node.parts.applied.statistics).toMatchObject({ epochs: 0, flushes: 0 })
    }
  })
})
