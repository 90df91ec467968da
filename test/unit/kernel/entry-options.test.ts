import { afterEach, describe, expect, jest, test } from '@jest/globals'
import {
  type AdaptiveOptions,
  defaultEntryOptions,
  type EntryOptions,
} from '../../../src/kernel/cache/entry-options.js'
import type { LoadContext } from '../../../src/kernel/cache/load-context.js'
import { InMemoryJournal } from '../../support/in-memory-journal.js'
import { InMemoryTier } from '../../support/in-memory-tier.js'
import { ManualClock } from '../../support/manual-clock.js'
import { type SimulatedNode, type Simulation, startSimulatedNode } from '../../support/simulated-node.js'

const year = 365 * 86_400_000
const endless = Number.POSITIVE_INFINITY

const times = { least: 1, most: year }
const waits = { least: 0, most: endless }
const numbers: Record<string, { least: number; most: number; allowed?: readonly number[] }> = {
  l1TtlMs: times,
  l2TtlMs: times,
  failSafeMaxDurationMs: times,
  jitterMs: { least: 0, most: year },
  failSafeThrottleMs: { least: 0, most: year },
  softTimeoutMs: waits,
  hardTimeoutMs: waits,
  l2SoftTimeoutMs: waits,
  l2HardTimeoutMs: waits,
  clusterWaitMs: { least: 0, most: 600_000 },
  sizeBytes: { least: 0, most: Number.MAX_SAFE_INTEGER },
  eagerRefreshThreshold: { least: 0, most: 0.999_999 },
}
const flags = Object.entries(defaultEntryOptions).flatMap(([name, usual]) =>
  typeof usual === 'boolean' ? [name] : [],
)

const refused = [
  ...Object.entries(numbers).flatMap(([name, { least, most }]) => [
    ...[Number.NaN, -1, -endless, '5', '', null, true, {}, 5n, Symbol('5')].map(
      (value) => [name, value] as const,
    ),
    ...(least > 0 ? [[name, 0] as const, [name, -0] as const, [name, least / 2] as const] : []),
    ...(most === endless
      ? []
      : [[name, endless] as const, [name, most * 1.001] as const, [name, 1e16] as const]),
  ]),
  ...flags.flatMap((name) => [null, 0, 1, 'false', {}].map((value) => [name, value] as const)),
]

const allowed = [
  ...Object.entries(numbers).flatMap(([name, { least, most }]) =>
    [least, -0, 1.5, 1e16, most]
      .filter((value) => value >= least && value <= most)
      .map((value) => [name, value] as const),
  ),
  ...flags.flatMap((name) => [true, false].map((value) => [name, value] as const)),
]

test('these tests cover every option', () => {
  expect([...Object.keys(numbers), ...flags].sort()).toEqual(
    [...Object.keys(defaultEntryOptions), 'sizeBytes'].sort(),
  )
})

interface Pair {
  readonly one: SimulatedNode
  readonly two: SimulatedNode
  readonly clock: ManualClock
}

async function startPair(simulation: Simulation = {}): Promise<Pair> {
  const journal = new InMemoryJournal()
  const clock = new ManualClock()
  const both = { journal, clock, shared: new InMemoryTier(), ...simulation }
  return { one: await startSimulatedNode(both), two: await startSimulatedNode(both), clock }
}

/** Lets time pass while both nodes renew their leases. */
async function pass({ one, two, clock }: Pair, ms: number): Promise<void> {
  clock.advance(ms)
  await one.check.run()
  await two.check.run()
}

const never = () => Promise.reject(new Error('it was to be answered without a load'))
const down = () => Promise.reject(new Error('the origin is down'))

describe('an option out of range throws a RangeError that names it:', () => {
  test.each(refused)('%s: %p', async (name, value) => {
    const wrong = { [name]: value } as Partial<EntryOptions>
    const refusal = expect.objectContaining({ name: 'RangeError', message: expect.stringContaining(name) })
    await expect(startSimulatedNode({ entry: wrong })).rejects.toEqual(refusal)
    const { cache } = await startSimulatedNode()
    const load = async () => 'value'
    const stamp = cache.capture()
    const options = { entry: wrong }
    // For a miss, and for a hit.
    await expect(cache.getOrCreate('a', load, options)).rejects.toEqual(refusal)
    await cache.getOrCreate('a', load)
    await expect(cache.getOrCreate('a', never, options)).rejects.toEqual(refusal)
    await expect(cache.get('a', options)).rejects.toEqual(refusal)
    await expect(cache.getMany(['a'], never, options)).rejects.toEqual(refusal)
    await expect(cache.set('a', 'b', { stamp, ...options })).rejects.toEqual(refusal)
    expect(await cache.get('a')).toBe('value')
  })
})

describe('every value that the check accepts works:', () => {
  test.each(allowed)('%s: %p', async (name, value) => {
    const entry = { clusterSingleFlight: true, [name]: value } as Partial<EntryOptions>
    const pair = await startPair({ entry })
    for (const { cache } of [pair.one, pair.two]) {
      expect(await cache.getOrCreate('a', async () => 'value')).toBe('value')
      expect(await cache.getOrCreate('a', async () => 'value', { entry })).toBe('value')
      expect(
        (
          await cache.getMany(['a', 'b'], async (keys) => new Map(keys.map((key) => [key, 'value'])), {
            entry,
          })
        ).size,
      ).toBe(2)
    }
    await pass(pair, 1_000)
    expect(await pair.two.cache.getOrCreate('a', async () => 'value')).toBe('value')
  })

  test.each([...Object.keys(numbers), ...flags])('%s: undefined means the default', async (name) => {
    const entry = { [name]: undefined } as Partial<EntryOptions>
    const { one, two } = await startPair()
    const load = ({ adapt }: LoadContext): Promise<string> => {
      if (name !== 'clusterWaitMs') adapt({ sizeBytes: undefined, failSafe: undefined })
      return Promise.resolve('value')
    }
    expect(await one.cache.getOrCreate('a', load, { entry })).toBe('value')
    expect(await one.cache.getOrCreate('a', never, { entry })).toBe('value')
    expect(await two.cache.getOrCreate('a', never, { entry })).toBe('value')
  })
})

describe('an option that a load adapts holds on its node, for copies on other nodes, and when the next load fails:', () => {
  afterEach(() => {
    jest.restoreAllMocks()
  })

  /** Loads a value with adapted options on one node, and copies it to the other. */
  async function adapted(
    decided: AdaptiveOptions,
    simulation: Simulation = {},
  ): Promise<Pair & { loads: () => number }> {
    let loads = 0
    const pair = await startPair(simulation)
    const load = async ({ adapt }: LoadContext) => {
      loads++
      adapt(decided)
      return { list: [1] }
    }
    await pair.one.cache.getOrCreate('a', load)
    await pair.two.cache.getOrCreate('a', load)
    return { ...pair, loads: () => loads }
  }

  const bothOf = ({ one, two }: Pair) => [one.cache, two.cache]
  const brief = { l1TtlMs: 1_000, l2TtlMs: 1_000 }

  test('l1TtlMs', async () => {
    const pair = await adapted({ l1TtlMs: 1_000 })
    for (const cache of bothOf(pair)) expect(cache.peek('a')).toBeDefined()
    await pass(pair, 1_001)
    for (const cache of bothOf(pair)) expect(cache.peek('a')).toBeUndefined()
    for (const cache of bothOf(pair)) expect(await cache.get('a')).toBeDefined()
  })

  test('l2TtlMs', async () => {
    const pair = await adapted({ l2TtlMs: 1_000 })
    for (const cache of bothOf(pair)) expect(await cache.get('a')).toBeDefined()
    await pass(pair, 1_001)
    for (const cache of bothOf(pair)) expect(await cache.get('a')).toBeUndefined()
    for (const cache of bothOf(pair)) await expect(cache.getOrCreate('a', down)).rejects.toThrow('down')
  })

  test('jitterMs', async () => {
    jest.spyOn(Math, 'random').mockReturnValue(0.5)
    const pair = await adapted({ jitterMs: 200_000 })
    await pass(pair, 199_000)
    for (const cache of bothOf(pair)) expect(cache.peek('a')).toBeDefined()
    await pass(pair, 2_000)
    for (const cache of bothOf(pair)) expect(cache.peek('a')).toBeUndefined()
  })

  test('failSafe: true', async () => {
    const pair = await adapted({ failSafe: true }, { entry: brief })
    await pass(pair, 1_001)
    for (const cache of bothOf(pair)) {
      expect(await cache.getOrCreate('a', down)).toEqual({ list: [1] })
      expect(await cache.getOrCreate('a', never)).toEqual({ list: [1] })
      expect((await cache.getMany(['a'], down)).get('a')).toEqual({ list: [1] })
      expect(cache.statistics.staleServed).toBe(3)
    }
    // A node that never held the value finds the copy that L2 keeps for fail-safe.
    const third = await startSimulatedNode({
      ...pair,
      journal: pair.one.journal,
      shared: pair.one.dependencies.shared,
      entry: brief,
    })
    expect(await third.cache.getOrCreate('a', down)).toEqual({ list: [1] })
  })

  test('failSafe: true, after a soft timeout', async () => {
    const pair = await adapted({ failSafe: true }, { entry: { ...brief, softTimeoutMs: 50 } })
    await pass(pair, 1_001)
    const reads = bothOf(pair).map((cache) => cache.getOrCreate('a', () => new Promise<never>(() => {})))
    await new Promise((resolve) => setImmediate(resolve))
    await pass(pair, 51)
    for (const read of reads) expect(await read).toEqual({ list: [1] })
  })

  test('failSafe: true, except for a call that sets failSafe: false', async () => {
    const pair = await adapted({ failSafe: true }, { entry: brief })
    await pass(pair, 1_001)
    const honest = { entry: { failSafe: false } }
    for (const cache of bothOf(pair))
      await expect(cache.getOrCreate('a', down, honest)).rejects.toThrow('down')
  })

  test('failSafe: false', async () => {
    const pair = await adapted({ failSafe: false }, { entry: { ...brief, failSafe: true } })
    await pass(pair, 1_001)
    for (const cache of bothOf(pair)) await expect(cache.getOrCreate('a', down)).rejects.toThrow('down')
  })

  test('failSafeMaxDurationMs', async () => {
    const pair = await adapted(
      { failSafeMaxDurationMs: 5_000 },
      { entry: { ...brief, failSafe: true, failSafeThrottleMs: 0 } },
    )
    await pass(pair, 4_000)
    for (const cache of bothOf(pair)) expect(await cache.getOrCreate('a', down)).toEqual({ list: [1] })
    await pass(pair, 1_001)
    for (const cache of bothOf(pair)) await expect(cache.getOrCreate('a', down)).rejects.toThrow('down')
  })

  test('eagerRefreshThreshold', async () => {
    const pair = await adapted({ eagerRefreshThreshold: 0.5 }, { entry: { l2TtlMs: 300_000 } })
    await pass(pair, 151_000)
    for (const cache of bothOf(pair)) {
      await cache.getOrCreate('a', async () => ({ list: [2] }))
      await new Promise((resolve) => setImmediate(resolve))
    }
    expect(
      pair.one.cache.statistics.eagerRefreshes + pair.two.cache.statistics.eagerRefreshes,
    ).toBeGreaterThan(0)
    for (const cache of bothOf(pair)) expect(cache.peek('a')).toEqual({ list: [2] })
  })

  test('skipL1Write', async () => {
    const pair = await adapted({ skipL1Write: true })
    for (const cache of bothOf(pair)) {
      expect(cache.peek('a')).toBeUndefined()
      expect(await cache.get('a')).toEqual({ list: [1] })
    }
    expect(pair.loads()).toBe(1)
  })

  test('skipL2Write', async () => {
    const pair = await adapted({ skipL2Write: true })
    expect(pair.loads()).toBe(2)
    for (const cache of bothOf(pair)) expect(cache.peek('a')).toBeDefined()
  })

  test('clone', async () => {
    const pair = await adapted({ clone: true })
    for (const cache of bothOf(pair)) {
      const mine = (await cache.get('a')) as { list: number[] }
      mine.list.push(2)
      expect(await cache.get('a')).toEqual({ list: [1] })
    }
    expect(pair.loads()).toBe(1)
  })

  test('sizeBytes', async () => {
    const pair = await adapted({ sizeBytes: 4_321.5 }, { cache: { maxBytes: 10_000 } })
    for (const cache of bothOf(pair)) expect(cache.inMemory.bytes).toBe(4_322)
  })

  test('an option that does not concern the value is refused', async () => {
    const wrong = { softTimeoutMs: 5 } as AdaptiveOptions
    await expect(adapted(wrong)).rejects.toThrow('adapt: a load cannot set the option "softTimeoutMs"')
  })
})
