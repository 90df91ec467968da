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

test('behind an event that kills every process that handles it, others keep their attempts', async () => {
  const mortal = await createFreshDatabase()
  const node = await startTestNode(mortal)
  for (const name of ['killer', 'second', 'third']) await registerUser(node, name)
  await until('each has its delivery', async () => {
    const made = await query(
      mortal,
      `select from aftercommit_kernel.event_delivery where handler = 'scripted.first'`,
    )
    return made.length === 3
  })
  await node.stop()
  // Taken back to where nothing was tried; then claims that last 0 ms stand for processes that die at once.
  await query(
    mortal,
    `update aftercommit_kernel.event_delivery set state = 'pending', attempts = 0, next_attempt_at = now()`,
  )
  const { deliveries, dataSource } = node.parts
  await dataSource.initialize()
  const claim = (kind: 'new' | 'retried', atMost: number) =>
    deliveries.claim('scripted.first', kind, atMost, 0)
  expect(await claim('new', 10)).toHaveLength(3)
  for (let death = 2; death <= 5; death++) {
    const [killer, ...others] = await claim('retried', 1)
    expect([killer?.attempt, others]).toEqual([death, []])
  }
  const rows = await query<{ attempts: number }>(
    mortal,
    `select attempts from aftercommit_kernel.event_delivery where handler = 'scripted.first' order by position`,
  )
  expect(rows.map(({ attempts }) => attempts)).toEqual([5, 1, 1])
  await dataSource.destroy()
  await mortal.drop()
})
