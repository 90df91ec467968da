import { describe, expect, test } from '@jest/globals'
import { systemClock } from '../../../src/kernel/clock.js'
import { Faults } from '../../../src/kernel/faults.js'
import type { Hint } from '../../../src/kernel/journal/hint.js'
import { StalenessCheck } from '../../../src/kernel/journal/staleness-check.js'
import { Dispatcher } from '../../../src/kernel/outbox/dispatcher.js'
import { settle } from '../../support/gate.js'
import { InMemoryJournal } from '../../support/in-memory-journal.js'
import { silentLogger } from '../../support/silent-logger.js'
import { maxStalenessMs, startSimulatedNode } from '../../support/simulated-node.js'

const event = 'test.happened'

/** @param fetches whether numbering returns no messages, as that of a backlog */
async function startDispatcher({ fetches = false } = {}) {
  const journal = new InMemoryJournal()
  if (fetches) {
    const number = journal.number.bind(journal)
    journal.number = async (atMost) => {
      const { messages, ...result } = await number(atMost)
      return result
    }
  }
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

  test('numbers the next batch of a backlog while it fetches the one before', async () => {
    const { journal, dispatcher } = await startDispatcher({ fetches: true })
    for (let index = 0; index < 4_500; index++) journal.commit(event, {})
    journal.calls.length = 0
    await dispatcher.dispatch()
    expect(journal.calls).toEqual(['number', 'number', 'read 0', 'number', 'read 2000', 'read 4000'])
  })

  test('numbers what was committed while its answer came in by one call more, not by one each', async () => {
    const { journal, dispatcher } = await startDispatcher()
    journal.calls.length = 0
    const first = dispatcher.dispatch()
    const second = dispatcher.dispatch()
    await first
    // Of the same turn of the event loop, as COMMITs are whose answers came in with that of the numbering.
    for (let tick = 0; tick < 50; tick++) await Promise.resolve()
    const third = dispatcher.dispatch()
    await Promise.all([second, third])
    expect(journal.calls.filter((call) => call === 'number')).toHaveLength(2)
  })

  test('that cannot fetch a batch says so, and what it was numbering meanwhile is skipped by nobody', async () => {
    const { journal, node, hints, dispatcher } = await startDispatcher({ fetches: true })
    for (let index = 0; index < 4_500; index++) journal.commit(event, {})
    journal.beforeRead = () => Promise.reject(new Error('the connection broke'))
    await expect(dispatcher.dispatch()).rejects.toThrow('the connection broke')
    journal.beforeRead = () => undefined
    expect(journal.head).toBe(4_000)
    expect(await dispatcher.dispatch()).toEqual({ epoch: journal.epoch, position: 4_500 })
    expect(node.applied.position).toBe(2_000)
    expect(hints.map(({ head }) => head)).toEqual([4_500])
    await node.check.run()
    expect(node.applied.position).toBe(4_500)
    expect(node.applied.statistics).toMatchObject({ gaps: 0, flushes: 0 })
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

describe('a transaction that is committed with its numbering', () => {
  const committed = { command: 'COMMIT', rows: [] }

  /** Commits one event after the other, on a quiet node. */
  async function commitEach(count: number, declines: (attempt: number) => boolean) {
    const { journal, node, dispatcher } = await startDispatcher()
    let attempts = 0
    let behind = 0
    const connection = { query: async () => committed }
    Object.assign(journal, {
      numberAndCommit: async (_: unknown, atMost: number) => {
        const numbering = declines(++attempts) ? undefined : await journal.number(atMost)
        return { command: 'COMMIT', numbering }
      },
      numberOn: (_: unknown, atMost: number) => {
        behind++
        return journal.number(atMost)
      },
    })
    let undispatched = 0
    for (let index = 0; index < count; index++) {
      journal.commit(event, {})
      const { dispatched } = await dispatcher.commit({ connection, isAlone: true, keepUntil: () => {} })
      if (!dispatched) undispatched++
      await (dispatched ?? dispatcher.dispatch())
      expect(node.applied.position).toBe(index + 1)
      await settle()
    }
    return { attempts, behind, undispatched }
  }

  test('has it in itself where Postgres lets it', async () => {
    expect(await commitEach(5, () => false)).toEqual({ attempts: 5, behind: 0, undispatched: 0 })
  })

  test('has it behind its COMMIT for a long while after Postgres has declined: it may always', async () => {
    expect(await commitEach(102, () => true)).toEqual({ attempts: 2, behind: 100, undispatched: 2 })
  })
})
