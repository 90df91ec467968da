import { describe, expect, test } from '@jest/globals'
import { LoadTimeoutError } from '../../../src/kernel/cache/cache-errors.js'
import type { EntryOptions } from '../../../src/kernel/cache/entry-options.js'
import type { SharedKey } from '../../../src/kernel/cache/shared/shared-tier.js'
import { Gate, settle } from '../../support/gate.js'
import { InMemoryJournal } from '../../support/in-memory-journal.js'
import { InMemoryTier } from '../../support/in-memory-tier.js'
import { ManualClock } from '../../support/manual-clock.js'
import { startSimulatedNode } from '../../support/simulated-node.js'

/** An L2 whose locks expire, as in Redis. */
class TierWithExpiringLocks extends InMemoryTier {
  readonly ttls: number[] = []

  constructor(private readonly clock: ManualClock) {
    super()
  }

  override lock(key: SharedKey, position: number, required: number, ttlMs = 0) {
    this.ttls.push(ttlMs)
    const before = [...this.locks.values()]
    const taking = super.lock(key, position, required)
    for (const [name, lock] of this.locks) {
      if (before.includes(lock)) continue
      void this.clock.sleep(ttlMs).then(() => {
        if (this.locks.get(name) === lock && !lock.loaded) this.locks.delete(name)
      })
    }
    return taking
  }
}

async function twoNodes(entry: Partial<EntryOptions>) {
  const journal = new InMemoryJournal()
  const clock = new ManualClock()
  const shared = new TierWithExpiringLocks(clock)
  const settings = { journal, clock, shared, entry: { clusterSingleFlight: true, ...entry } }
  const one = await startSimulatedNode(settings)
  const two = await startSimulatedNode(settings)
  return { clock, shared, one: one.cache, two: two.cache }
}

/** Lets time pass, one millisecond after another, until a promise is settled. */
async function passUntilSettled<Result>(clock: ManualClock, work: Promise<Result>): Promise<Result> {
  let done = false
  const end = () => {
    done = true
  }
  work.then(end, end)
  for (let turns = 0; !done && turns < 5_000; turns++) {
    await settle()
    if (!done) clock.advance(1)
  }
  return work
}

const hangs = () => new Promise<never>(() => {})

describe('a load that hangs on one node', () => {
  test('does not keep a caller on another node from loading within its hard timeout', async () => {
    const { clock, one, two } = await twoNodes({ hardTimeoutMs: 200, clusterWaitMs: 1_000 })
    const hanging = one.getOrCreate('a', hangs)
    hanging.catch(() => {})
    await settle()
    expect(
      await passUntilSettled(
        clock,
        two.getOrCreate('a', async () => 'value'),
      ),
    ).toBe('value')
    await expect(passUntilSettled(clock, hanging)).rejects.toThrow(LoadTimeoutError)
  })

  test('does not keep the least patient of the callers who share a load from an answer', async () => {
    const { clock, one, two } = await twoNodes({ clusterWaitMs: 1_000 })
    void one.getOrCreate('a', hangs).catch(() => {})
    await settle()
    const patient = two.getOrCreate('a', async () => 'value')
    await settle()
    const impatient = two.getOrCreate('a', async () => 'value', { entry: { hardTimeoutMs: 200 } })
    expect(await passUntilSettled(clock, impatient)).toBe('value')
    expect(await patient).toBe('value')
  })

  test('holds the lock no longer than its caller waits, even for an eager refresh', async () => {
    const { clock, shared, one, two } = await twoNodes({
      hardTimeoutMs: 200,
      clusterWaitMs: 1_000,
      l1TtlMs: 10_000,
      eagerRefreshThreshold: 0.01,
    })
    await one.getOrCreate('a', async () => 'old')
    clock.advance(200)
    await one.getOrCreate('a', hangs)
    await settle()
    expect(shared.ttls.at(-1)).toBe(200)
    const options = { entry: { skipL1Read: true, l2HardTimeoutMs: 100 } }
    shared.entries.clear()
    expect(
      await passUntilSettled(
        clock,
        two.getOrCreate('a', async () => 'new', options),
      ),
    ).toBe('new')
  })

  test('is still waited for during clusterWaitMs by patient callers, so that a slow load runs once', async () => {
    const { clock, one, two } = await twoNodes({ clusterWaitMs: 1_000 })
    const gate = new Gate()
    const slow = one.getOrCreate('a', () => gate.opened.then(() => 'one load'))
    await settle()
    const waiting = two.getOrCreate('a', async () => 'another load')
    void clock.sleep(900).then(() => gate.open())
    expect(await passUntilSettled(clock, waiting)).toBe('one load')
    expect(await slow).toBe('one load')
  })
})

test('a caller does not join a load that has already taken longer than the caller would wait', async () => {
  const { clock, one } = await twoNodes({ clusterSingleFlight: false })
  void one.getOrCreate('a', hangs)
  await settle()
  clock.advance(50)
  expect(await one.getOrCreate('a', async () => 'value', { entry: { hardTimeoutMs: 50 } })).toBe('value')
})

test('an L2 that hangs uses at most half of the hard timeout', async () => {
  const clock = new ManualClock()
  const shared = new InMemoryTier()
  shared.afterGet = hangs
  Object.assign(shared, { timeoutMs: Number.POSITIVE_INFINITY })
  const { cache } = await startSimulatedNode({ clock, shared, entry: { clusterSingleFlight: true } })
  const reading = cache.getOrCreate('a', async () => 'value', { entry: { hardTimeoutMs: 200 } })
  expect(await passUntilSettled(clock, reading)).toBe('value')
})

test('an L2 that becomes slow while another node loads leaves half of the hard timeout to the load', async () => {
  const { clock, shared, one, two } = await twoNodes({ hardTimeoutMs: 200, clusterWaitMs: 1_000 })
  Object.assign(shared, { timeoutMs: Number.POSITIVE_INFINITY })
  void one.getOrCreate('a', hangs).catch(() => {})
  await settle()
  let loadedAt = Number.NaN
  const askedAt = clock.now()
  const waiting = two.getOrCreate('a', async () => {
    loadedAt = clock.now()
    return 'value'
  })
  for (let ms = 0; ms < 90; ms++) {
    await settle()
    clock.advance(1)
  }
  shared.afterGet = () => clock.sleep(150)
  expect(await passUntilSettled(clock, waiting)).toBe('value')
  expect(loadedAt - askedAt).toBeLessThanOrEqual(100)
})

test('a read that never loads waits for a slow L2, whatever the hard timeout of loads is', async () => {
  const clock = new ManualClock()
  const shared = new InMemoryTier()
  Object.assign(shared, { timeoutMs: Number.POSITIVE_INFINITY })
  const settings = { clock, shared, journal: new InMemoryJournal(), entry: { hardTimeoutMs: 20 } }
  const one = await startSimulatedNode(settings)
  const two = await startSimulatedNode(settings)
  await one.cache.getOrCreate('a', async () => 'value')
  shared.afterGet = () => clock.sleep(100)
  expect(await passUntilSettled(clock, two.cache.get('a'))).toBe('value')
})

test('callers who would time out while a patient one waits for a hung L2 are answered by one load of theirs', async () => {
  const { clock, shared, one } = await twoNodes({})
  const gate = new Gate()
  shared.afterGet = () => gate.opened
  const patient = one.getOrCreate('a', async () => 'for the patient')
  let loads = 0
  const load = async () => {
    loads++
    return 'in time'
  }
  const impatient = [0, 1, 2].map(() => one.getOrCreate('a', load, { entry: { hardTimeoutMs: 200 } }))
  expect(await passUntilSettled(clock, Promise.all(impatient))).toEqual(['in time', 'in time', 'in time'])
  expect(loads).toBe(1)
  expect(one.statistics).toMatchObject({ misses: 3, bypasses: 0, failedReads: 0 })
  gate.open()
  expect(await passUntilSettled(clock, patient)).toBe('for the patient')
})
