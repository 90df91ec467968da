import { describe, expect, test } from '@jest/globals'
import { dependencyOn } from '../../../src/kernel/journal/invalidation-rules.js'
import { pageSize } from '../../../src/kernel/journal/staleness-check.js'
import { Gate, settle } from '../../support/gate.js'
import { InMemoryJournal } from '../../support/in-memory-journal.js'
import { cacheName, maxStalenessMs, SimulatedNode, startSimulatedNode } from '../../support/simulated-node.js'

const event = 'test.happened'
const stale = (...keys: string[]) => ({ keys })

/** Whether a value that a node loaded at a position may still be served. */
function fresh({ applied }: SimulatedNode, position: number, key: string): boolean {
  const slots = [applied.invalidations.slotOf(dependencyOn.key(cacheName, key))]
  return applied.isFresh({ epoch: applied.epoch, position }, slots)
}

async function startAt(position: number): Promise<SimulatedNode> {
  const journal = new InMemoryJournal()
  for (let index = 0; index < position; index++) journal.commit(event, stale('old'))
  await journal.number(10_000)
  return startSimulatedNode({ journal })
}

describe('a check', () => {
  test('applies what is new, and buys a lease counted from before it was sent', async () => {
    const node = await startAt(3)
    node.journal.commit(event, stale('a'))
    await node.journal.number(100)
    node.clock.advance(1_000)
    node.journal.afterRead = async () => node.clock.advance(700)
    await node.check.run()
    expect(node.applied.position).toBe(4)
    expect(fresh(node, 3, 'a')).toBe(false)
    expect(fresh(node, 3, 'b')).toBe(true)
    expect(node.lease.remaining()).toBe(maxStalenessMs - 700)
  })

  test('that fails renews nothing and loses nothing', async () => {
    const node = await startAt(3)
    node.clock.advance(1_000)
    node.journal.beforeRead = () => Promise.reject(new Error('Postgres is away'))
    await expect(node.check.run()).rejects.toThrow('Postgres is away')
    expect(node.lease.remaining()).toBe(maxStalenessMs - 1_000)
    expect(node.applied.position).toBe(3)
    node.journal.beforeRead = () => undefined
    await node.check.run()
    expect(node.lease.remaining()).toBe(maxStalenessMs)
  })

  test('has what a dead writer left unnumbered dispatched before it renews the lease', async () => {
    const node = await startAt(1)
    node.journal.commit(event, stale('a'))
    node.clock.advance(1_000)
    await node.check.run()
    expect(node.applied.position).toBe(2)
    expect(fresh(node, 1, 'a')).toBe(false)
    expect(node.lease.remaining()).toBe(maxStalenessMs)
  })

  test('renews nothing while committed rows cannot be numbered', async () => {
    const node = await startAt(1)
    node.journal.commit(event, stale('a'))
    node.journal.number = () => Promise.reject(new Error('the lock was not to be had'))
    node.clock.advance(1_000)
    await expect(node.check.run()).rejects.toThrow('the lock')
    expect(node.lease.remaining()).toBe(maxStalenessMs - 1_000)
  })

  test('reads without taking the lock while nothing is unnumbered', async () => {
    const node = await startAt(1)
    node.journal.calls.length = 0
    await node.check.run()
    expect(node.journal.calls).toEqual(['read 1'])
  })

  test('applies a backlog of several pages before it renews the lease', async () => {
    const node = await startAt(1)
    for (let index = 0; index < 2 * pageSize + 5; index++) node.journal.commit(event, stale(`key:${index}`))
    await node.journal.number(10_000)
    node.clock.advance(1_000)
    let positionAtRenewal = 0
    const renew = node.lease.renew.bind(node.lease)
    node.lease.renew = (...args) => {
      positionAtRenewal = node.applied.position
      renew(...args)
    }
    await node.check.run()
    expect(positionAtRenewal).toBe(1 + 2 * pageSize + 5)
    expect(node.applied.statistics.flushes).toBe(0)
  })

  test('makes everything stale where positions are missing', async () => {
    const node = await startAt(3)
    for (let index = 0; index < 5; index++) node.journal.commit(event, stale('a'))
    await node.journal.number(100)
    node.journal.deleteUpTo(5)
    await node.check.run()
    expect(node.applied.position).toBe(8)
    expect(fresh(node, 7, 'never mentioned')).toBe(false)
    expect(fresh(node, 8, 'never mentioned')).toBe(true)
    expect(node.lease.holds()).toBe(true)
  })

  test('makes everything stale where one row in the middle is missing', async () => {
    const node = await startAt(1)
    for (let index = 0; index < 3; index++) node.journal.commit(event, stale('a'))
    await node.journal.number(100)
    node.journal.rows = node.journal.rows.filter((row) => row.position !== 3)
    await node.check.run()
    expect(node.applied.position).toBe(4)
    expect(fresh(node, 3, 'never mentioned')).toBe(false)
  })

  test('that finds retention has taken only what is applied flushes nothing', async () => {
    const node = await startAt(3)
    node.journal.deleteUpTo(3)
    await node.check.run()
    expect(node.applied.statistics.flushes).toBe(0)
  })

  test('makes everything stale where the row is gone that would prove that this is the same history', async () => {
    const node = await startAt(3)
    node.journal.deleteUpTo(3)
    node.journal.commit(event, stale('a'))
    await node.journal.number(100)
    await node.check.run()
    expect(node.applied.position).toBe(4)
    expect(fresh(node, 3, 'never mentioned')).toBe(false)
  })

  test('answers for a hint that arrives while it reads: nothing is taken back', async () => {
    const node = await startAt(1)
    node.journal.commit(event, stale('a'))
    await node.journal.number(100)
    const gate = new Gate()
    node.journal.afterRead = () => gate.opened
    const checking = node.check.run()
    await settle()
    node.journal.afterRead = () => undefined
    node.journal.commit(event, stale('b'))
    await node.journal.number(100)
    const { messages } = await node.journal.read(1, 10)
    node.applied.apply(messages)
    gate.open()
    await checking
    expect(node.applied.position).toBe(3)
    expect(fresh(node, 2, 'b')).toBe(false)
    expect(node.applied.statistics.flushes).toBe(0)
  })
})

describe('what a check finds out by the way', () => {
  test('is told as caught up: what it applied, and neither what a hint nor what a dispatch did', async () => {
    const node = await startAt(1)
    const reaches: unknown[] = []
    node.applied.observe({ caughtUp: (reach) => reaches.push(reach) })
    node.journal.commit(event, stale('by hint'))
    await node.journal.number(100)
    node.applied.apply((await node.journal.read(1, 10)).messages)
    await node.check.run()
    expect(reaches).toEqual([])

    node.journal.commit(event, stale('a'))
    node.journal.commit(event, stale('b'))
    await node.journal.number(100)
    await node.check.run()
    expect(reaches).toEqual([{ from: 2, to: 4 }])
    await node.check.run()
    expect(reaches).toHaveLength(1)
  })

  test('counts from where hints have brought it while it read', async () => {
    const node = await startAt(1)
    const reaches: unknown[] = []
    node.applied.observe({ caughtUp: (reach) => reaches.push(reach) })
    for (const key of ['a', 'b', 'c']) node.journal.commit(event, stale(key))
    await node.journal.number(100)
    const { messages } = await node.journal.read(1, 1)
    node.journal.afterRead = async () => {
      node.applied.apply(messages)
    }
    await node.check.run()
    expect(reaches).toEqual([{ from: 2, to: 4 }])
  })

  test('tells every node the same time, whatever its own clocks say', async () => {
    const journal = new InMemoryJournal()
    journal.now = () => 5_000_000
    const [one, two] = [new SimulatedNode({ journal }), new SimulatedNode({ journal })]
    two.clock.advance(900_000)
    two.clock.jumpWall(-900_000)
    expect(one.dependencies.clusterClock.known).toBe(false)
    await one.check.run()
    await two.check.run()
    expect(one.dependencies.clusterClock.known).toBe(true)
    expect(one.dependencies.clusterClock.now()).toBe(5_000_000)
    expect(two.dependencies.clusterClock.now()).toBe(5_000_000)
  })

  test('is no time where the check fails', async () => {
    const node = new SimulatedNode()
    node.journal.beforeRead = () => Promise.reject(new Error('Postgres is away'))
    await expect(node.check.run()).rejects.toThrow('away')
    expect(node.dependencies.clusterClock.known).toBe(false)
  })
})

describe('concurrent callers', () => {
  test('share a check, which began after each of them called', async () => {
    const node = await startAt(1)
    const gate = new Gate()
    node.journal.afterRead = () => gate.opened
    const early = node.check.run()
    await settle()
    node.journal.afterRead = () => undefined
    node.journal.commit(event, stale('a'))
    const late = Array.from({ length: 100 }, () => node.check.run())
    node.journal.calls.length = 0
    gate.open()
    await early
    await Promise.all(late)
    expect(node.applied.position).toBe(2)
    expect(node.journal.calls.filter((call) => call === 'number')).toHaveLength(1)
    expect(node.journal.calls.filter((call) => call.startsWith('read'))).toHaveLength(2)
  })
})

describe('another history of the database', () => {
  test.each([
    [
      'another epoch',
      (journal: InMemoryJournal) => {
        journal.epoch = '00000000000000f0'
      },
    ],
    [
      'a head below what is applied',
      (journal: InMemoryJournal) => {
        journal.rows = journal.rows.filter((row) => row.position === 1)
        journal.head = 1
        journal.headId = journal.rows[0]!.numberingId
      },
    ],
    [
      'the same head by another numbering call',
      (journal: InMemoryJournal) => {
        journal.headId = 'another call'
        for (const row of journal.rows) row.numberingId = 'another call'
      },
    ],
    [
      'another event at the position that is applied, below a higher head',
      (journal: InMemoryJournal) => {
        for (const row of journal.rows) row.numberingId = 'another call'
        journal.commit(event, stale('x'))
        void journal.number(100)
      },
    ],
    [
      'an empty journal',
      (journal: InMemoryJournal) => {
        journal.rows = []
        journal.head = 0
        journal.headId = null
      },
    ],
  ])('%s is a new epoch: nothing loaded before is fresh again', async (_what, rewrite) => {
    const node = await startAt(3)
    const before = node.applied.epoch
    const stamp = node.applied.stamp()
    rewrite(node.journal)
    node.clock.advance(1_000)
    await node.check.run()
    expect(node.applied.epoch).not.toBe(before)
    expect(node.applied.isFresh(stamp, [])).toBe(false)
    expect(node.applied.position).toBe(node.journal.head)
    expect(node.applied.statistics.epochs).toBe(1)
    expect(node.lease.remaining()).toBe(maxStalenessMs)
    await node.check.run()
    expect(node.applied.statistics.epochs).toBe(1)
  })

  test('is declared once, by whoever notices first', async () => {
    const journal = new InMemoryJournal()
    for (let index = 0; index < 3; index++) journal.commit(event, stale('old'))
    await journal.number(100)
    const [one, two] = [await startSimulatedNode({ journal }), await startSimulatedNode({ journal })]
    journal.headId = 'another call'
    for (const row of journal.rows) row.numberingId = 'another call'
    await one.check.run()
    await two.check.run()
    expect(two.applied.epoch).toBe(one.applied.epoch)
    await one.check.run()
    expect(one.applied.statistics.epochs).toBe(1)
  })
})

describe('a starting node', () => {
  test('has no lease before its first check', () => {
    expect(new SimulatedNode().lease.holds()).toBe(false)
  })

  test('trusts nothing older than the events that it replays', async () => {
    const journal = new InMemoryJournal()
    for (let index = 1; index <= 10; index++) journal.commit(event, stale(`key:${index}`))
    await journal.number(100)
    const node = await startSimulatedNode({ journal, replayAtStart: 4 })
    expect(node.applied.position).toBe(10)
    expect(fresh(node, 5, 'untouched')).toBe(false)
    expect(fresh(node, 6, 'untouched')).toBe(true)
    expect(fresh(node, 6, 'key:7')).toBe(false)
    expect(fresh(node, 7, 'key:7')).toBe(true)
  })

  test('trusts nothing at all where the events to replay are gone', async () => {
    const journal = new InMemoryJournal()
    for (let index = 1; index <= 10; index++) journal.commit(event, stale(`key:${index}`))
    await journal.number(100)
    journal.deleteUpTo(8)
    const node = await startSimulatedNode({ journal, replayAtStart: 4 })
    expect(node.applied.position).toBe(10)
    expect(fresh(node, 9, 'untouched')).toBe(false)
    expect(fresh(node, 10, 'untouched')).toBe(true)
  })
})

describe('a token', () => {
  test('that this node has applied costs no check', async () => {
    const node = await startAt(3)
    node.journal.calls.length = 0
    const token = { epoch: node.applied.epoch, position: 3 }
    expect(await node.check.satisfy(token)).toEqual(token)
    expect(node.journal.calls).toEqual([])
  })

  test.each([
    ['pending', 'pending' as const],
    ['ahead of this node', 4],
  ])('that is %s is answered after a check that covers every commit before', async (_what, position) => {
    const node = await startAt(3)
    node.journal.commit(event, stale('a'))
    const reached = await node.check.satisfy({ epoch: node.applied.epoch, position })
    expect(reached).toEqual({ epoch: node.applied.epoch, position: 4 })
    expect(fresh(node, 3, 'a')).toBe(false)
  })

  test('of another epoch counts as pending', async () => {
    const node = await startAt(3)
    node.journal.commit(event, stale('a'))
    const reached = await node.check.satisfy({ epoch: '00000000000000ff', position: 1 })
    expect(reached).toEqual({ epoch: node.applied.epoch, position: 4 })
  })

  test('that somebody forged far ahead is replaced, so that it costs one check only', async () => {
    const node = await startAt(3)
    const forged = { epoch: node.applied.epoch, position: Number.MAX_SAFE_INTEGER }
    const request = node.request(forged)
    await request.satisfy()
    expect(request.token).toEqual({ epoch: node.applied.epoch, position: 3 })
  })

  test('that cannot be honoured while Postgres is away fails rather than read the past', async () => {
    const node = await startAt(3)
    node.journal.beforeRead = () => Promise.reject(new Error('Postgres is away'))
    await expect(node.check.satisfy({ epoch: node.applied.epoch, position: 9 })).rejects.toThrow('away')
  })
})
