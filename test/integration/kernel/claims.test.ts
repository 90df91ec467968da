import { afterAll, expect, test } from '@jest/globals'
import { createFreshDatabase, type FreshDatabase, query } from '../../support/fresh-database.js'
import { Gate } from '../../support/gate.js'
import { reactions } from '../../support/scripted-module.js'
import { startTestNode } from '../../support/test-node.js'
import { until } from '../../support/until.js'
import { registerUser } from '../../support/users.js'

let database: FreshDatabase

afterAll(async () => {
  reactions.first = async () => {}
  await database.drop()
})

test('a node that stops gives back the events that it has claimed and not begun, uncounted', async () => {
  database = await createFreshDatabase()
  const node = await startTestNode(database)
  const gates = { blocker: new Gate(), second: new Gate() }
  const begun: string[] = []
  reactions.first = async ({ name }) => {
    begun.push(name)
    if (name === 'blocker' || name === 'second') await gates[name].opened
  }
  await registerUser(node, 'blocker')
  await until('the first event is being handled', () => begun.length === 1)
  // Pile up behind it, and are claimed together once it is done.
  for (const name of ['second', 'third', 'fourth']) await registerUser(node, name)
  gates.blocker.open()
  await until('the second event is being handled', () => begun.length === 2)

  const stopped = node.stop()
  gates.second.open()
  await stopped
  expect(begun).toEqual(['blocker', 'second'])
  const rows = await query<{ state: string; attempts: number }>(
    database,
    `select state, attempts from aftercommit_kernel.event_delivery where handler = 'scripted.first' order by position`,
  )
  expect(rows).toEqual([
    { state: 'done', attempts: 1 },
    { state: 'done', attempts: 1 },
    { state: 'pending', attempts: 0 },
    { state: 'pending', attempts: 0 },
  ])
})
