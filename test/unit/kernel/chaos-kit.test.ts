import { describe, expect, test } from '@jest/globals'
import fc from 'fast-check'
import type { SharedEntry, SharedKey } from '../../../src/kernel/cache/shared/shared-tier.js'
import { systemClock } from '../../../src/kernel/clock.js'
import type { Hint } from '../../../src/kernel/journal/hint.js'
import type { HintChannel, HintListener } from '../../../src/kernel/journal/hint-channel.js'
import { StalenessCheck } from '../../../src/kernel/journal/staleness-check.js'
import { Subscriber } from '../../../src/kernel/journal/subscriber.js'
import {
  ChaosError,
  ChaosHints,
  ChaosJournal,
  ChaosTier,
  Trouble,
  type TroubleSettings,
} from '../../kit/chaos.js'
import { settle } from '../../support/gate.js'
import { InMemoryJournal } from '../../support/in-memory-journal.js'
import { InMemoryTier } from '../../support/in-memory-tier.js'
import { ManualClock } from '../../support/manual-clock.js'
import { seed } from '../../support/seed.js'
import { silentLogger } from '../../support/silent-logger.js'
import { SimulatedNode, startSimulatedNode } from '../../support/simulated-node.js'

const epoch = '00000000000000e1'
const always: TroubleSettings = { failureRate: 1 }

const keyOf = (key: string): SharedKey => ({ epoch, cache: 'Thing', key })
const entryOf = (value: unknown): SharedEntry => ({
  value,
  position: 1,
  names: [],
  loadedAt: 0,
  freshUntil: 1_000,
  usableUntil: 1_000,
  l1TtlMs: 1_000,
})
const hintOf = (head: number): Hint => ({ epoch, head, messages: [] })

/** Whether a promise has been settled, once all that waits for nothing has run. */
async function isSettled(promise: Promise<unknown>): Promise<boolean> {
  let done = false
  promise.then(
    () => (done = true),
    () => (done = true),
  )
  await settle()
  return done
}

function timers(): number {
  return process.getActiveResourcesInfo().filter((resource) => resource === 'Timeout').length
}

describe('trouble', () => {
  const draws = (trouble: Trouble, count = 50) => Array.from({ length: count }, () => trouble.draw())
  const all: TroubleSettings = { delayMs: [5, 50], failureRate: 0.5, duplicateRate: 0.5, reorderRate: 0.5 }

  test('the same seed gives the same run, another seed another', () => {
    const run = (runSeed: number) => {
      const trouble = new Trouble({ seed: runSeed })
      trouble.cause(all)
      return draws(trouble)
    }
    fc.assert(
      fc.property(fc.integer(), (any) => expect(run(any)).toEqual(run(any))),
      { seed },
    )
    expect(run(1)).not.toEqual(run(2))
  })

  test('says the seed that it chose, so that a run can be had again', () => {
    const first = new Trouble()
    first.cause(all)
    const again = new Trouble({ seed: first.seed })
    again.cause(all)
    expect(draws(again)).toEqual(draws(first))
  })

  test('a change of one setting deals no other fates to what the others concern', () => {
    const fates = (settings: TroubleSettings) => {
      const trouble = new Trouble({ seed: 7 })
      trouble.cause(settings)
      return draws(trouble).map(({ fails }) => fails)
    }
    expect(fates({ failureRate: 0.5 })).toEqual(fates(all))
  })

  test('befalls the share of calls that was asked for, with delays all over their range', () => {
    const trouble = new Trouble({ seed })
    trouble.cause({ failureRate: 0.3, delayMs: [10, 20] })
    const fates = draws(trouble, 10_000)
    expect(Math.abs(fates.filter(({ fails }) => fails).length / 10_000 - 0.3)).toBeLessThan(0.03)
    const delays = fates.map(({ delayMs }) => delayMs)
    expect(Math.min(...delays)).toBeGreaterThanOrEqual(10)
    expect(Math.min(...delays)).toBeLessThan(11)
    expect(Math.max(...delays)).toBeLessThanOrEqual(20)
    expect(Math.max(...delays)).toBeGreaterThan(19)
  })

  test('at a rate of 1 befalls every call, and none before it is caused or once it is calm', () => {
    const trouble = new Trouble({ seed })
    const failing = () => draws(trouble).filter(({ fails }) => fails).length
    expect(failing()).toBe(0)
    trouble.cause({ ...always, delayMs: 7 })
    expect(failing()).toBe(50)
    expect(draws(trouble).every(({ delayMs }) => delayMs === 7)).toBe(true)
    trouble.calm()
    expect(failing()).toBe(0)
    expect(draws(trouble).every(({ delayMs }) => delayMs === 0)).toBe(true)
  })

  test.each<[string, TroubleSettings]>([
    ['failureRate', { failureRate: 1.1 }],
    ['duplicateRate', { duplicateRate: -0.1 }],
    ['reorderRate', { reorderRate: Number.NaN }],
    ['delayMs', { delayMs: -1 }],
    ['delayMs', { delayMs: [20, 10] }],
  ])('with a %s out of range is refused, and changes nothing', (name, settings) => {
    const trouble = new Trouble({ seed })
    trouble.cause(always)
    expect(() => trouble.cause(settings)).toThrow(new RegExp(name))
    expect(trouble.draw().fails).toBe(true)
  })
})

describe('L2 in trouble', () => {
  function start() {
    const clock = new ManualClock()
    const trouble = new Trouble({ seed, clock })
    const inner = new InMemoryTier()
    return { clock, trouble, inner, tier: new ChaosTier(inner, trouble) }
  }

  test('is L2 itself while it is calm: writes have happened when the call returns', async () => {
    const { tier, inner } = start()
    tier.set(keyOf('a'), entryOf('A'), 1_000)
    tier.setMany([{ key: keyOf('b'), entry: entryOf('B'), ttlMs: 1_000 }])
    expect(inner.entries.size).toBe(2)
    expect(await tier.get(keyOf('a'))).toMatchObject({ value: 'A' })
    const found = await tier.getMany([keyOf('b'), keyOf('c'), keyOf('a')])
    expect(found.map((entry) => entry?.value)).toEqual(['B', undefined, 'A'])
    const lock = await tier.lock(keyOf('a'), 1, 1, 1_000)
    expect(lock.held && (await tier.lock(keyOf('a'), 1, 1, 1_000)).held).toBe(false)
    if (lock.held) lock.release(false)
    expect((await tier.lock(keyOf('a'), 1, 1, 1_000)).held).toBe(true)
    tier.forget([keyOf('a')])
    expect(inner.entries.size).toBe(1)
  })

  test('where reads fail, they miss; where writes fail, they are lost; nothing throws', async () => {
    const { tier, inner, trouble } = start()
    inner.set(keyOf('a'), entryOf('old'))
    trouble.cause(always)
    expect(await tier.get(keyOf('a'))).toBeUndefined()
    expect(await tier.getMany([keyOf('a'), keyOf('b')])).toEqual([undefined, undefined])
    tier.set(keyOf('a'), entryOf('new'), 1_000)
    tier.setMany([{ key: keyOf('b'), entry: entryOf('B'), ttlMs: 1_000 }])
    tier.forget([keyOf('a')])
    trouble.calm()
    expect(await tier.get(keyOf('a'))).toMatchObject({ value: 'old' })
    expect(await tier.get(keyOf('b'))).toBeUndefined()
  })

  test('a lock that cannot be had counts as held by everybody, and takes nothing', async () => {
    const { tier, inner, trouble } = start()
    trouble.cause(always)
    for (const _ of [1, 2]) {
      const lock = await tier.lock(keyOf('a'), 1, 1, 1_000)
      expect(lock).toMatchObject({ held: true, loadedMeanwhile: false })
      if (lock.held) lock.release(true)
    }
    expect(inner.locks.size).toBe(0)
  })

  test('a release that is lost leaves the lock with who died', async () => {
    const { tier, trouble } = start()
    const lock = await tier.lock(keyOf('a'), 1, 1, 1_000)
    trouble.cause(always)
    if (lock.held) lock.release(false)
    trouble.calm()
    expect((await tier.lock(keyOf('a'), 1, 1, 1_000)).held).toBe(false)
  })

  test('a delayed read brings what was there before the delay, a delayed write comes after it', async () => {
    const { tier, inner, clock, trouble } = start()
    inner.set(keyOf('a'), entryOf('old'))
    trouble.cause({ delayMs: 100 })
    const reading = tier.get(keyOf('a'))
    await settle()
    tier.set(keyOf('a'), entryOf('new'), 1_000)
    expect(tier.pending).toBe(2)
    clock.advance(99)
    expect(await isSettled(reading)).toBe(false)
    expect(await inner.get(keyOf('a'))).toMatchObject({ value: 'old' })
    clock.advance(1)
    expect(await reading).toMatchObject({ value: 'old' })
    expect(await inner.get(keyOf('a'))).toMatchObject({ value: 'new' })
    expect(tier.pending).toBe(0)
  })

  test('fails at random in the same way for the same seed', async () => {
    const run = async (runSeed: number) => {
      const trouble = new Trouble({ seed: runSeed })
      const inner = new InMemoryTier()
      const tier = new ChaosTier(inner, trouble)
      trouble.cause({ failureRate: 0.5 })
      for (let index = 0; index < 40; index++) tier.set(keyOf(`${index}`), entryOf(index), 1_000)
      const found = []
      for (let index = 0; index < 40; index++) found.push((await tier.get(keyOf(`${index}`)))?.value)
      return { stored: [...inner.entries.keys()], found }
    }
    expect(await run(seed)).toEqual(await run(seed))
    expect(await run(1)).not.toEqual(await run(2))
    const { stored, found } = await run(1)
    expect(stored.length).toBeGreaterThan(5)
    expect(stored.length).toBeLessThan(35)
    expect(found.filter((value) => value !== undefined).length).toBeLessThan(stored.length)
  })

  test('stopped, it misses and loses what was delayed, keeps no timer, and is L2 itself from then on', async () => {
    const trouble = new Trouble({ seed, clock: systemClock })
    const inner = new InMemoryTier()
    const tier = new ChaosTier(inner, trouble)
    inner.set(keyOf('a'), entryOf('A'))
    const before = timers()
    trouble.cause({ delayMs: 60_000 })
    const [reading, locking] = [tier.get(keyOf('a')), tier.lock(keyOf('a'), 1, 1, 1_000)]
    tier.set(keyOf('b'), entryOf('B'), 1_000)
    trouble.cause({ delayMs: Number.POSITIVE_INFINITY })
    const hanging = tier.getMany([keyOf('a')])
    await systemClock.sleep(20)
    expect(tier.pending).toBe(4)
    expect(timers()).toBe(before + 4)
    tier.stop()
    expect(await reading).toBeUndefined()
    expect(await hanging).toEqual([undefined])
    expect(await locking).toMatchObject({ held: true })
    expect(tier.pending).toBe(0)
    expect(timers()).toBe(before)
    expect(inner.entries.size).toBe(1)
    trouble.cause(always)
    expect(await tier.get(keyOf('a'))).toMatchObject({ value: 'A' })
  })

  test('a cache over L2 that hangs answers all the same, once its own time for L2 is over', async () => {
    const { clock, trouble, tier } = start()
    const { cache } = await startSimulatedNode({ clock, shared: tier, entry: { l2HardTimeoutMs: 250 } })
    trouble.cause({ delayMs: Number.POSITIVE_INFINITY })
    const answer = cache.getOrCreate('a', async () => 'loaded')
    expect(await isSettled(answer)).toBe(false)
    clock.advance(249)
    expect(await isSettled(answer)).toBe(false)
    clock.advance(1)
    expect(await answer).toBe('loaded')
    tier.stop()
  })
})

/** A channel on which a test hears what is sent, and says what arrives. */
class TestChannel implements HintChannel {
  readonly published: number[] = []
  listener: HintListener | undefined
  closed = false

  publish({ head }: Hint): void {
    this.published.push(head)
  }

  start(listener: HintListener): Promise<void> {
    this.listener = listener
    return Promise.resolve()
  }

  stop(): Promise<void> {
    this.closed = true
    return Promise.resolve()
  }
}

const ignored = { rejected: () => {}, lost: () => {}, reconnected: () => {} }

async function startHints() {
  const clock = new ManualClock()
  const trouble = new Trouble({ seed, clock })
  const channel = new TestChannel()
  const hints = new ChaosHints(channel, trouble)
  const heard: unknown[] = []
  await hints.start({
    hint: ({ head }) => heard.push(head),
    rejected: (reason) => heard.push(reason),
    lost: () => heard.push('lost'),
    reconnected: () => heard.push('reconnected'),
  })
  const both = (head: number) => {
    hints.publish(hintOf(head))
    channel.listener?.hint(hintOf(head))
  }
  return { clock, trouble, channel, hints, heard, both }
}

describe('hints in trouble', () => {
  test('pass at once and in order while it is calm, as does what is no hint', async () => {
    const { both, channel, heard, trouble } = await startHints()
    for (const head of [1, 2, 3]) both(head)
    expect(channel.published).toEqual([1, 2, 3])
    expect(heard).toEqual([1, 2, 3])
    trouble.cause({ ...always, delayMs: 50 })
    channel.listener?.rejected('forged')
    channel.listener?.reconnected()
    expect(heard).toEqual([1, 2, 3, 'forged', 'reconnected'])
  })

  test('are lost on their way out and on their way in, and nobody is told', async () => {
    const { both, channel, heard, trouble } = await startHints()
    trouble.cause(always)
    both(1)
    trouble.calm()
    both(2)
    expect(channel.published).toEqual([2])
    expect(heard).toEqual([2])
  })

  test('are in trouble on one way only where the other has a trouble of its own', async () => {
    const [sending, receiving] = [new Trouble({ seed }), new Trouble({ seed })]
    const channel = new TestChannel()
    const hints = new ChaosHints(channel, sending, receiving)
    const heard: number[] = []
    await hints.start({ hint: ({ head }) => heard.push(head), ...ignored })
    receiving.cause(always)
    hints.publish(hintOf(1))
    channel.listener?.hint(hintOf(1))
    expect(channel.published).toEqual([1])
    expect(heard).toEqual([])
  })

  test('come late, by a fixed delay still in order', async () => {
    const { both, clock, channel, heard, hints, trouble } = await startHints()
    trouble.cause({ delayMs: 100 })
    both(1)
    both(2)
    expect(hints.pending).toBe(4)
    clock.advance(99)
    await settle()
    expect([channel.published, heard]).toEqual([[], []])
    clock.advance(1)
    await settle()
    expect([channel.published, heard]).toEqual([
      [1, 2],
      [1, 2],
    ])
    expect(hints.pending).toBe(0)
  })

  test('overtake each other where their delays differ', async () => {
    const { clock, channel, heard, trouble } = await startHints()
    trouble.cause({ delayMs: [0, 100] })
    const heads = Array.from({ length: 20 }, (_, index) => index)
    for (const head of heads) channel.listener?.hint(hintOf(head))
    for (let ms = 0; ms <= 100; ms++) {
      await settle()
      clock.advance(1)
    }
    await settle()
    expect(heard).not.toEqual(heads)
    expect(heard.toSorted((a, b) => Number(a) - Number(b))).toEqual(heads)
  })

  test('come twice, out and in', async () => {
    const { both, channel, heard, trouble } = await startHints()
    trouble.cause({ duplicateRate: 1 })
    both(1)
    both(2)
    expect(channel.published).toEqual([1, 1, 2, 2])
    expect(heard).toEqual([1, 1, 2, 2])
  })

  test('come out of order: one is held back until the next has overtaken it', async () => {
    const { both, channel, heard, trouble } = await startHints()
    trouble.cause({ reorderRate: 1 })
    for (const head of [1, 2, 3, 4, 5]) both(head)
    expect(heard).toEqual([2, 1, 4, 3])
    trouble.calm()
    both(6)
    expect(heard).toEqual([2, 1, 4, 3, 6, 5])
    expect(channel.published).toEqual([1, 2, 3, 4, 5, 6])
  })

  test('stopped, what is delayed or held back is lost, no timer is left, and the channel is closed', async () => {
    const trouble = new Trouble({ seed, clock: systemClock })
    const channel = new TestChannel()
    const hints = new ChaosHints(channel, trouble)
    const heard: number[] = []
    await hints.start({ hint: ({ head }) => heard.push(head), ...ignored })
    const before = timers()
    trouble.cause({ delayMs: 60_000 })
    hints.publish(hintOf(1))
    channel.listener?.hint(hintOf(1))
    trouble.cause({ reorderRate: 1 })
    channel.listener?.hint(hintOf(2))
    expect(timers()).toBe(before + 2)
    await hints.stop()
    channel.listener?.hint(hintOf(3))
    await settle()
    expect([timers(), hints.pending]).toEqual([before, 0])
    expect([channel.published, heard, channel.closed]).toEqual([[], [], true])
  })

  test('whatever becomes of them, a check brings a node to the same state', async () => {
    const rate = fc.double({ min: 0, max: 1, noNaN: true })
    const settings = fc.record({
      failureRate: rate,
      duplicateRate: rate,
      reorderRate: rate,
      delayMs: fc.constantFrom<TroubleSettings['delayMs']>(0, 3, [0, 10]),
    })
    await fc.assert(
      fc.asyncProperty(settings, fc.integer(), async (caused, troubleSeed) => {
        const clock = new ManualClock()
        const node = await startSimulatedNode({ clock })
        const trouble = new Trouble({ seed: troubleSeed, clock })
        const channel = new TestChannel()
        const hints = new ChaosHints(channel, trouble)
        await new Subscriber(hints, node.applied, node.check, silentLogger).start()
        trouble.cause(caused)
        for (let index = 0; index < 8; index++) {
          node.journal.commit('test.happened', { keys: [`${index}`] })
          const { head } = await node.journal.number(1)
          const { messages } = await node.journal.read(head - 1, 1)
          channel.listener?.hint({ epoch, head, messages })
          clock.advance(2)
        }
        await node.check.run()
        expect(node.applied.position).toBe(8)
        expect(node.applied.statistics).toMatchObject({ applied: 8, flushes: 0 })
        await hints.stop()
        await node.check.stop()
      }),
      { seed, numRuns: 50 },
    )
  })
})

describe('the journal in trouble', () => {
  function start() {
    const clock = new ManualClock()
    const trouble = new Trouble({ seed, clock })
    const inner = new InMemoryJournal()
    return { clock, trouble, inner, journal: new ChaosJournal(inner, trouble) }
  }

  test('is the journal itself while it is calm, its own failures included', async () => {
    const { inner, journal } = start()
    inner.commit('test.happened', {})
    expect(await journal.number(10)).toMatchObject({ head: 1, numbered: 1 })
    expect(await journal.read(0, 10)).toEqual(await inner.read(0, 10))
    expect(await journal.beginEpoch(epoch)).toBe(inner.epoch)
    inner.beforeRead = () => Promise.reject(new Error('Postgres is away'))
    await expect(journal.read(0, 10)).rejects.toThrow('Postgres is away')
  })

  test('a failing call rejects and never reaches Postgres', async () => {
    const { inner, journal, trouble } = start()
    trouble.cause(always)
    await expect(journal.number(10)).rejects.toThrow(ChaosError)
    await expect(journal.read(0, 10)).rejects.toThrow(ChaosError)
    await expect(journal.beginEpoch(epoch)).rejects.toThrow(ChaosError)
    expect(inner.calls).toEqual([])
  })

  test('a delayed answer is as old as the question', async () => {
    const { clock, inner, journal, trouble } = start()
    trouble.cause({ delayMs: 100 })
    const reading = journal.read(0, 10)
    await settle()
    inner.commit('test.happened', {})
    await inner.number(1)
    clock.advance(99)
    expect(await isSettled(reading)).toBe(false)
    expect(journal.pending).toBe(1)
    clock.advance(1)
    expect(await reading).toMatchObject({ head: 0, messages: [] })
  })

  test('a check that fails or is late buys no more lease than one that began when it did', async () => {
    const { clock, journal, trouble } = start()
    const { applied, lease } = new SimulatedNode({ clock })
    const options = { intervalMs: 400, replayAtStart: 10 }
    const dispatch = () => journal.number(10)
    const check = new StalenessCheck(journal, applied, lease, dispatch, clock, silentLogger, options)
    await check.run()
    const full = lease.remaining()
    clock.advance(500)
    trouble.cause(always)
    await expect(check.run()).rejects.toThrow(ChaosError)
    expect(lease.remaining()).toBe(full - 500)
    trouble.cause({ delayMs: 300 })
    const checking = check.run()
    await settle()
    clock.advance(300)
    await checking
    expect(lease.remaining()).toBe(full - 300)
  })

  test('stopped, what is delayed rejects, no timer is left, and it is the journal itself from then on', async () => {
    const trouble = new Trouble({ seed, clock: systemClock })
    const journal = new ChaosJournal(new InMemoryJournal(), trouble)
    const before = timers()
    trouble.cause({ delayMs: 60_000 })
    const reading = journal.read(0, 10)
    await settle()
    expect([journal.pending, timers()]).toEqual([1, before + 1])
    journal.stop()
    await expect(reading).rejects.toThrow(ChaosError)
    expect([journal.pending, timers()]).toEqual([0, before])
    trouble.cause(always)
    expect(await journal.read(0, 10)).toMatchObject({ head: 0 })
  })
})
