import { describe, expect, test } from '@jest/globals'
import type { EntryOptions } from '../../../src/kernel/cache/entry-options.js'
import type { HybridCache } from '../../../src/kernel/cache/hybrid-cache.js'
import { DomainError } from '../../../src/kernel/domain/domain-error.js'
import type { ConsistencyToken } from '../../../src/kernel/journal/consistency-token.js'
import { Gate, settle } from '../../support/gate.js'
import { InMemoryJournal } from '../../support/in-memory-journal.js'
import { InMemoryTier } from '../../support/in-memory-tier.js'
import { ManualClock } from '../../support/manual-clock.js'
import { maxStalenessMs, type SimulatedNode, startSimulatedNode } from '../../support/simulated-node.js'

const fails = (): Promise<unknown> => Promise.reject(new Error('away'))
const hangs = () => new Promise<never>(() => {})

function read(
  node: SimulatedNode,
  token?: ConsistencyToken,
  entry: Partial<EntryOptions> = {},
  factory = fails,
) {
  const consistency = node.request(token)
  return node.cache
    .getOrCreate<unknown>('a', factory, { consistency, entry, tags: ['red'] })
    .then((value) => [value, consistency.stale?.staleness ?? 'fresh'])
}

describe('a stale answer is never older than the token of its request', () => {
  const ends: Readonly<Record<string, (cache: HybridCache) => Promise<void>>> = {
    expire: (cache) => cache.expire('a'),
    expireByTag: (cache) => cache.expireByTag('red'),
    'clear with keepFailSafe': (cache) => cache.clear({ keepFailSafe: true }),
  }
  test.each(Object.entries(ends))('after %s', async (_, end) => {
    const node = await startSimulatedNode({ entry: { failSafe: true, failSafeThrottleMs: 0 } })
    await node.cache.getOrCreate('a', async () => 'old', { tags: ['red'] })
    const before = node.applied.stamp()
    await end(node.cache)
    expect(await read(node)).toEqual(['old', 'expired'])
    expect(await read(node, before)).toEqual(['old', 'expired'])
    await expect(read(node, node.applied.stamp())).rejects.toThrow('away')
    // No invalidation names it any more: its row may have another tag by now.
    await node.apply({ tags: ['blue'] })
    await expect(read(node, node.applied.stamp())).rejects.toThrow('away')
    await expect(node.cache.getOrCreate('page', () => read(node))).rejects.toThrow('away')
    expect(await read(node, before)).toEqual(['old', 'expired'])
  })

  test('even while attempts are throttled', async () => {
    const node = await startSimulatedNode({ entry: { failSafe: true, failSafeThrottleMs: 1_000 } })
    await node.cache.getOrCreate('a', async () => 'old')
    await node.cache.expire('a')
    expect(await read(node)).toEqual(['old', 'expired'])
    await expect(read(node, node.applied.stamp())).rejects.toThrow('away')
  })

  test('and may be answered to work that a load left running, because the value of the load is not made from it', async () => {
    const node = await startSimulatedNode({ entry: { failSafe: true } })
    await node.cache.getOrCreate('a', async () => 'old')
    await node.cache.expire('a')
    const gate = new Gate()
    let late: Promise<unknown> | undefined
    await node.cache.getOrCreate('page', async () => {
      late = gate.opened.then(() => read(node))
      return 'page'
    })
    gate.open()
    expect(await late).toEqual(['old', 'expired'])
  })

  test('and may be answered if it has only expired, because nothing that concerns it has happened', async () => {
    const node = await startSimulatedNode({ entry: { failSafe: true, l1TtlMs: 100, l2TtlMs: 100 } })
    await node.cache.getOrCreate('a', async () => 'old')
    await node.apply({ tags: ['blue'] })
    node.clock.advance(100)
    expect(await read(node, node.applied.stamp())).toEqual(['old', 'expired'])
  })
})

describe('the options of one call do not affect another call', () => {
  async function expired() {
    const node = await startSimulatedNode({ entry: { failSafe: true, l1TtlMs: 100, l2TtlMs: 100 } })
    await node.cache.getOrCreate('a', async () => 'old')
    node.clock.advance(100)
    return node
  }

  test('each call is throttled for its own failSafeThrottleMs', async () => {
    const node = await expired()
    await read(node, undefined, { failSafeThrottleMs: 1_000 })
    expect(await read(node, undefined, { failSafeThrottleMs: 1_000 }, async () => 'new')).toEqual([
      'old',
      'expired',
    ])
    expect(await read(node, undefined, { failSafeThrottleMs: 0 }, async () => 'new')).toEqual([
      'new',
      'fresh',
    ])
  })

  test.each([[{ softTimeoutMs: 20 }], [{ hardTimeoutMs: 20 }]])(
    'a caller with little patience does not keep others from waiting for the load: %j',
    async (impatient) => {
      const node = await expired()
      const first = read(node, undefined, impatient, hangs)
      await settle()
      node.clock.advance(20)
      expect(await first).toEqual(['old', 'expired'])
      // An equally impatient caller would see no more.
      expect(await read(node, undefined, impatient, async () => 'new')).toEqual(['old', 'expired'])
      const patient = read(node, undefined, { softTimeoutMs: 500, hardTimeoutMs: 500 }, async () => 'new')
      // It joins the load that hangs, or loads itself if nobody may join that load any more.
      const joins = !('hardTimeoutMs' in impatient)
      const soon = await Promise.race([patient, settle().then(() => 'still waits')])
      expect(soon).toEqual(joins ? 'still waits' : ['new', 'fresh'])
      node.clock.advance(500)
      expect(await patient).toEqual(joins ? ['old', 'expired'] : ['new', 'fresh'])
    },
  )

  test('a load completes if at least one caller wants that', async () => {
    const node = await startSimulatedNode()
    const giveUp = new AbortController()
    let aborted = false
    let finish = (): void => {}
    const load = ({ signal }: { signal: AbortSignal }) =>
      new Promise<string>((resolve) => {
        signal.addEventListener('abort', () => {
          aborted = true
        })
        finish = () => resolve('value')
      })
    const options = (backgroundCompletion: boolean) => ({
      signal: giveUp.signal,
      entry: { backgroundCompletion },
    })
    const reads = [
      node.cache.getOrCreate('a', load, options(false)),
      node.cache.getOrCreate('a', load, options(true)),
    ]
    await settle()
    giveUp.abort(new Error('given up'))
    await Promise.allSettled(reads)
    expect(aborted).toBe(false)
    finish()
    await settle()
    expect(node.cache.peek('a')).toBe('value')
  })
})

describe('no stale value hides', () => {
  async function expired(shared = new InMemoryTier()) {
    const settings = { journal: new InMemoryJournal(), clock: new ManualClock(), shared }
    const entry = { failSafe: true, allowInvalidated: true, l1TtlMs: 100, l2TtlMs: 100 }
    const node = await startSimulatedNode({ ...settings, entry })
    await node.cache.getOrCreate('a', async () => 'old')
    node.clock.advance(100)
    return { node, other: await startSimulatedNode(settings) }
  }

  test('a domain error, which is an answer', async () => {
    const { node } = await expired()
    const gone = () => Promise.reject(new DomainError('not-found', 'gone', 'Gone'))
    await expect(read(node, undefined, {}, gone)).rejects.toThrow('Gone')
  })

  test('that the caller has given up', async () => {
    const { node } = await expired()
    const impatience = new AbortController()
    const reading = node.cache.getOrCreate<unknown>('a', hangs, { signal: impatience.signal })
    await settle()
    impatience.abort(new Error('Gave up'))
    await expect(reading).rejects.toThrow('Gave up')
  })

  test('a value that another node has set since the last attempt, even while attempts are throttled', async () => {
    const { node, other } = await expired()
    expect(await read(node)).toEqual(['old', 'expired'])
    await other.cache.set('a', 'new', { stamp: other.cache.capture() })
    await node.check.run()
    expect(await read(node)).toEqual(['new', 'fresh'])
  })
})

test('without a lease, a value that was expired is answered as unverified', async () => {
  const node = await startSimulatedNode({ entry: { failSafe: true } })
  await node.cache.getOrCreate('a', async () => 'old')
  await node.cache.expire('a')
  node.clock.advance(maxStalenessMs)
  expect(await read(node)).toEqual(['old', 'unverified'])
})
