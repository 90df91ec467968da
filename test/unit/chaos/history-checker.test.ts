import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, test } from '@jest/globals'
import { HistoryChecker } from '../../../tools/chaos/checker.js'
import {
  type FinalJournalRecord,
  type FinalNodeRecord,
  HistoryFile,
  type HistoryRecord,
  type ReadRecord,
  readHistory,
  type WriteRecord,
} from '../../../tools/chaos/history.js'
import { pausedNode } from '../../../tools/chaos/tally.js'
import type { Verdict, ViolationKind } from '../../../tools/chaos/verdict.js'

const boundUs = 2_000_000
const second = 1_000_000

const begin: HistoryRecord = { kind: 'begin', seed: 1, nodes: 3, boundUs, mode: 'aftercommit' }

/** An answered read of `user a`, sent at a second of the run and answered 1 ms later. */
function read(version: number, atSecond: number, more: Partial<ReadRecord> = {}): ReadRecord {
  const sentAt = atSecond * second
  return {
    kind: 'read',
    client: 1,
    node: 1,
    sentAt,
    arrivedAt: sentAt + 1_000,
    token: false,
    tier: 'l1',
    marked: false,
    seen: [{ key: 'user a', version, value: version === 0 ? '' : `value ${version}` }],
    ...more,
  }
}

/** An acknowledged write of `user a`, sent at a second of the run and answered 1 ms later. */
function write(version: number, atSecond: number, more: Partial<WriteRecord> = {}): WriteRecord {
  const sentAt = atSecond * second
  return {
    kind: 'write',
    client: 2,
    node: 2,
    sentAt,
    arrivedAt: sentAt + 1_000,
    token: false,
    outcome: 'committed',
    key: 'user a',
    version,
    value: `value ${version}`,
    ...more,
  }
}

const committed = (...versions: number[]): HistoryRecord[] =>
  versions.map((version) => ({ kind: 'committed', key: 'user a', version, value: `value ${version}` }))

const journal: FinalJournalRecord = {
  kind: 'final-journal',
  head: 2,
  unnumbered: 0,
  missing: 0,
  mismatched: 0,
  undelivered: 0,
}
const node: FinalNodeRecord = {
  kind: 'final-node',
  node: 1,
  ready: true,
  applied: 2,
  head: 2,
  sameProcess: true,
}
const finalRead = (version: number): HistoryRecord => ({
  kind: 'final-read',
  node: 1,
  key: 'user a',
  version,
  value: `value ${version}`,
  marked: false,
})

function check(...records: HistoryRecord[]): Verdict {
  const checker = new HistoryChecker()
  for (const record of [begin, ...records]) checker.accept(record)
  return checker.finish()
}

/** The kinds of violation that a history has, with their numbers. */
function violations(...records: HistoryRecord[]): Partial<Record<ViolationKind, number>> {
  return Object.fromEntries(check(...records).violations)
}

describe('a read older than the bound', () => {
  const history = (atSecond: number, more?: Partial<ReadRecord>) => [
    write(1, 0),
    write(2, 10),
    read(1, atSecond, more),
    ...committed(1, 2),
  ]

  test('is a violation once a newer write was acknowledged longer than the bound before it began', () => {
    expect(violations(...history(12.002))).toEqual({ 'older than the bound': 1 })
  })

  test('is none within the bound, and counted with how long it lacked the write', () => {
    const { violations, staleness } = check(...history(12))
    expect(violations.size).toBe(0)
    expect([staleness.size, staleness.largest]).toEqual([1, 1_999])
  })

  test('is none that began before the write was acknowledged, however late it is answered', () => {
    const { violations, staleness } = check(...history(10, { arrivedAt: 30 * second }))
    expect([violations.size, staleness.size]).toEqual([0, 0])
  })

  test('is none that says itself that it may be stale', () => {
    const { violations, marked, staleness } = check(...history(15, { marked: true }))
    expect([violations.size, marked, staleness.size]).toEqual([0, 1, 0])
  })

  test('is a violation too if only another reader has seen that the newer write is committed', () => {
    const unanswered = write(2, 10, { outcome: 'unknown', version: 0, value: 'value 2' })
    expect(
      violations(write(1, 0), read(2, 11, { client: 3 }), unanswered, read(1, 14), ...committed(1, 2)),
    ).toEqual({ 'older than the bound': 1 })
  })

  test('is a violation for each value that an answer shows: one old row in a list is enough', () => {
    const seen = [
      { key: 'user b', version: 7, value: 'other' },
      { key: 'user a', version: 1, value: 'value 1' },
    ]
    const other: HistoryRecord = { kind: 'committed', key: 'user b', version: 7, value: 'other' }
    expect(violations(write(1, 0), write(2, 10), read(1, 15, { seen }), ...committed(1, 2), other)).toEqual({
      'older than the bound': 1,
    })
  })

  test('is a violation also if it says that there is no such thing', () => {
    expect(violations(write(1, 0), read(0, 3), ...committed(1))).toEqual({ 'older than the bound': 1 })
  })
})

describe('a removal', () => {
  const removing: HistoryRecord = { kind: 'removing', key: 'user a', version: 2 }
  const removed = write(2, 10, { value: '' })
  const tombstone: HistoryRecord = { kind: 'committed', key: 'user a', version: 2, value: '' }

  test('may be seen from the moment when it is sent', () => {
    expect(
      violations(write(1, 0), removing, read(0, 10), removed, read(0, 15), ...committed(1), tombstone),
    ).toEqual({})
  })

  test('must be seen once the bound is over: what is still shown has risen from the dead', () => {
    expect(violations(write(1, 0), removing, removed, read(1, 13), ...committed(1), tombstone)).toEqual({
      'older than the bound': 1,
    })
  })

  test('must no longer be seen once the bound after the return is over', () => {
    expect(
      violations(
        write(1, 0),
        removing,
        removed,
        write(3, 20),
        read(0, 23),
        ...committed(1),
        tombstone,
        ...committed(3),
      ),
    ).toEqual({ 'older than the bound': 1 })
  })
})

describe('a read older than its token', () => {
  const mine = { client: 2, token: true }

  test('is a violation if this client wrote the newer version itself, a moment ago', () => {
    expect(violations(write(1, 0), write(2, 10), read(1, 10.002, mine), ...committed(1, 2))).toEqual({
      'older than the token': 1,
    })
  })

  test('is a violation if this client has read the newer version: with tokens nobody goes back in time', () => {
    const history = [write(1, 0, { client: 9 }), write(2, 10, { client: 9 })]
    expect(violations(...history, read(2, 10.1, mine), read(1, 10.2, mine), ...committed(1, 2))).toEqual({
      'older than the token': 1,
    })
  })

  test('is a violation if another client’s write was acknowledged before this one’s own was sent', () => {
    const own = write(1, 10.1, { key: 'user b', value: 'mine' })
    const other: HistoryRecord = { kind: 'committed', key: 'user b', version: 1, value: 'mine' }
    expect(
      violations(
        write(1, 0, { client: 9 }),
        write(2, 10, { client: 9 }),
        own,
        read(1, 10.2, mine),
        ...committed(1, 2),
        other,
      ),
    ).toEqual({ 'older than the token': 1 })
  })

  test('is a violation also if the answer says that it may be stale', () => {
    expect(
      violations(write(1, 0), write(2, 10), read(1, 10.002, { ...mine, marked: true }), ...committed(1, 2)),
    ).toEqual({ 'older than the token': 1 })
  })

  test('is none without a token, nor for a client that has seen nothing newer', () => {
    const history = [write(1, 0), write(2, 10)]
    expect(violations(...history, read(1, 10.1, { client: 2 }), ...committed(1, 2))).toEqual({})
    expect(violations(...history, read(1, 10.1, { client: 3, token: true }), ...committed(1, 2))).toEqual({})
  })
})

describe('a value that was never committed', () => {
  test('is a violation for whoever reads it: its transaction was rolled back, or not yet committed', () => {
    const unknown = write(2, 10, { outcome: 'unknown', version: 0 })
    expect(violations(write(1, 0), unknown, read(2, 10.1), ...committed(1))).toEqual({
      'uncommitted value': 1,
    })
  })

  test('is a violation if another value was committed as that version', () => {
    const rolledBack = read(2, 10, { seen: [{ key: 'user a', version: 2, value: 'rolled back' }] })
    expect(violations(write(1, 0), rolledBack, ...committed(1, 2))).toEqual({ 'uncommitted value': 1 })
  })

  test('is a violation at once if two readers see different values of one version', () => {
    const other = read(2, 10, { seen: [{ key: 'user a', version: 2, value: 'another' }] })
    expect(violations(write(1, 0), write(2, 5), other, ...committed(1, 2))).toEqual({
      'two values of one version': 1,
    })
  })

  test('is none if the write was never answered, but committed', () => {
    const unknown = write(2, 10, { outcome: 'unknown', version: 0 })
    expect(violations(write(1, 0), unknown, read(2, 11), ...committed(1, 2))).toEqual({})
  })
})

describe('a write', () => {
  test('that was acknowledged and is not in the database is lost', () => {
    expect(violations(write(1, 0), write(2, 10), ...committed(1))).toEqual({ 'acknowledged write lost': 1 })
  })

  test('that was acknowledged, read and is not in the database is lost, and not only uncommitted', () => {
    expect(violations(write(1, 0), read(2, 10), write(2, 10), ...committed(1))).toEqual({
      'acknowledged write lost': 1,
    })
  })

  test('that was refused must not be in the database', () => {
    const refused = write(0, 10, { outcome: 'refused', value: 'value 2' })
    expect(violations(write(1, 0), refused, ...committed(1, 2))).toEqual({ 'refused write committed': 1 })
  })

  test('that makes a version which another one has made is a violation', () => {
    expect(violations(write(1, 0), ...committed(1, 2, 2))).toEqual({ 'two values of one version': 1 })
  })
})

describe('after the faults have ended', () => {
  test('every node is there, has applied everything and reads what the database has', () => {
    expect(violations(write(1, 0), write(2, 10), node, journal, finalRead(2), ...committed(1, 2))).toEqual({})
  })

  test.each<[string, Partial<FinalNodeRecord>]>([
    ['is not ready', { ready: false }],
    ['has not applied everything', { applied: 1 }],
    ['had to be restarted', { sameProcess: false }],
  ])('a node that %s has not converged', (_, wrong) => {
    expect(violations({ ...node, ...wrong })).toEqual({ 'not converged': 1 })
  })

  test('a node that reads something else than the database has not converged', () => {
    expect(violations(finalRead(1), ...committed(1, 2))).toEqual({ 'not converged': 1 })
    expect(violations({ ...finalRead(2), marked: true } as HistoryRecord, ...committed(1, 2))).toEqual({
      'not converged': 1,
    })
  })

  test.each(['unnumbered', 'missing', 'mismatched', 'undelivered'] as const)(
    'an event that is %s is lost',
    (wrong) => {
      expect(violations({ ...journal, [wrong]: 1 })).toEqual({ 'event lost': 1 })
    },
  )
})

describe('a violation', () => {
  test('comes with the last writes of its key and the faults around it', () => {
    const fault = (phase: 'begins' | 'ends', atSecond: number, kind = 'Redis hung'): HistoryRecord => ({
      kind: 'fault',
      fault: kind,
      phase,
      at: atSecond * second,
      detail: '',
    })
    const { examples, faults } = check(
      fault('begins', 0, 'long ago'),
      fault('ends', 1, 'long ago'),
      write(1, 5),
      write(2, 20),
      fault('begins', 21),
      read(1, 30),
      fault('ends', 31),
      ...committed(1, 2),
    )
    expect(faults.get('Redis hung')).toBe(1)
    expect(examples).toHaveLength(1)
    expect(examples[0]).toMatchObject({
      kind: 'older than the bound',
      record: { node: 1, sentAt: 30 * second },
      writes: [{ version: 1 }, { version: 2 }],
      faults: [{ fault: 'Redis hung', phase: 'begins' }],
    })
  })

  test('of a paused node would be among the reads that are counted as answered after its pause', () => {
    const paused = (phase: 'begins' | 'ends', atSecond: number): HistoryRecord => ({
      kind: 'fault',
      fault: pausedNode,
      phase,
      at: atSecond * second,
      node: 1,
      detail: '',
    })
    const waiting = read(1, 11, { arrivedAt: 14 * second })
    const { answeredAfterPause, violations } = check(
      write(1, 0),
      read(1, 9),
      paused('begins', 10),
      read(1, 11, { node: 3 }),
      waiting,
      paused('ends', 14),
      read(1, 12, { arrivedAt: 14.1 * second }),
      read(1, 15),
      ...committed(1),
    )
    expect([answeredAfterPause, violations.size]).toEqual([2, 0])
  })

  test('is counted each time, and told of only as often as somebody will read it', () => {
    const reads = Array.from({ length: 100 }, () => read(1, 30))
    const { violations, examples } = check(write(1, 0), write(2, 10), ...reads, ...committed(1, 2))
    expect(violations.get('older than the bound')).toBe(100)
    expect(examples.length).toBeLessThan(10)
  })
})

test('a history is read back from its file as it was written', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'history-test-'))
  try {
    const records: HistoryRecord[] = [
      begin,
      write(1, 0),
      read(1, 1, { token: true, marked: true, tier: 'l2' }),
      read(0, 2, {
        seen: [
          { key: 'user a', version: 0, value: '' },
          { key: 'user b', version: 3, value: '"quoted"' },
        ],
      }),
      { kind: 'failed', client: 1, node: 1, sentAt: 1, arrivedAt: 2, token: false, status: 503, detail: '' },
      ...committed(1),
      node,
      journal,
    ]
    const file = new HistoryFile(join(folder, 'history'))
    for (const record of records) file.append(record)
    file.close()
    const found: HistoryRecord[] = []
    for await (const record of readHistory(file.path)) found.push(record)
    expect(found).toEqual(records)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
})
