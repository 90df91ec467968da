import { describe, expect, test } from '@jest/globals'
import { systemClock } from '../../../src/kernel/clock.js'
import { Faults } from '../../../src/kernel/faults.js'
import type { Hint } from '../../../src/kernel/journal/hint.js'
import { StalenessCheck } from '../../../src/kernel/journal/staleness-check.js'
import { Dispatcher } from '../../../src/kernel/outbox/dispatcher.js'
import { InMemoryJournal } from '../../support/in-memory-journal.js'
import { silentLogger } from '../../support/silent-logger.js'
import { maxStalenessMs, startSimulatedNode } from '../../support/simulated-node.js'

const event = 'test.happened'

async function startDispatcher() {
  const journal = new InMemoryJournal()
  const node = await startSimulatedNode({ journal })
  const hints: Hint[] = []
  const channel = { start: async () => {}, publish: (hint: Hint) => hints.push(hint), stop: async () => {} }
  const dispatcher = new Dispatcher(
    journal,
    node.applied,
    channel,
    new Faults([]),
    systemClock,
    silentLogger,
    () => {},
  )
  return { journal, node, hints, dispatcher }
}

describe('the dispatcher', () => {
  test('numbers a backlog of several batches, and publishes every position once, in order', async () => {
    const { journal, node, hints, dispatcher } = await startDispatcher()
    for (let index = 0; index < 4_500; index++) journal.commit(event, {})
    expect(await dispatcher.dispatch()).toEqual({ epoch: journal.epoch, position: 4_500 })
    expect(node.applied.position).toBe(4_500)
    const published = hints.flatMap(({ messages }) => messages.map(({ position }) => position))
    expect(published).toEqual(Array.from({ length: 4_500 }, (_, index) => index + 1))
  })

  test('stopped in the middle of a backlog, does not say that it is numbered: no lease is renewed by that', async () => {
    const { journal, node, dispatcher } = await startDispatcher()
    const { applied, lease, clock } = node
    const dispatch = () => dispatcher.dispatch()
    const options = { intervalMs: 400, replayAtStart: 0 }
    const check = new StalenessCheck(journal, applied, lease, dispatch, clock, silentLogger, options)
    for (let index = 0; index < 4_500; index++) journal.commit(event, {})
    clock.advance(1_000)
    const numbering = journal.number.bind(journal)
    journal.number = async (atMost) => {
      const result = await numbering(atMost)
      // Not waited for: it ends when the dispatch under way has.
      void dispatcher.stop()
      return result
    }
    await expect(check.run()).rejects.toThrow('stopped before all events had a position')
    expect(journal.head).toBeLessThan(4_500)
    expect(lease.remaining()).toBe(maxStalenessMs - 1_000)
  })
})
