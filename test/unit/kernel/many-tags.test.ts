import { describe, expect, test } from '@jest/globals'
import { maximumTags } from '../../../src/kernel/cache/reads/loader.js'
import { InMemoryJournal } from '../../support/in-memory-journal.js'
import { InMemoryTier } from '../../support/in-memory-tier.js'
import { ManualClock } from '../../support/manual-clock.js'
import { type SimulatedNode, startSimulatedNode } from '../../support/simulated-node.js'

const tags = (count: number) => Array.from({ length: count }, (_, index) => `t${index}`)
const never = () => Promise.reject(new Error('it was cached'))

async function startTwoNodes(): Promise<{ one: SimulatedNode; two: SimulatedNode; shared: InMemoryTier }> {
  const journal = new InMemoryJournal()
  const clock = new ManualClock()
  const shared = new InMemoryTier()
  const one = await startSimulatedNode({ journal, clock, shared })
  const two = await startSimulatedNode({ journal, clock, shared })
  return { one, two, shared }
}

test('the limit is 64 tags', () => {
  expect(maximumTags).toBe(64)
})

describe('an entry with as many tags as are allowed', () => {
  const declared = {
    'known beforehand': { tags: tags(maximumTags) },
    'learnt from the value': { tagsOf: () => tags(maximumTags) },
    'in part from either': {
      tags: tags(maximumTags / 2),
      tagsOf: () => tags(maximumTags).slice(maximumTags / 2),
    },
  }

  test.each(Object.entries(declared))('%s is read by another node from L2', async (_how, options) => {
    const { one, two } = await startTwoNodes()
    expect(await one.cache.getOrCreate('a', async () => 'value', options)).toBe('value')
    expect(await one.cache.getOrCreate<string>('a', never, options)).toBe('value')
    expect(await two.cache.getOrCreate<string>('a', never, options)).toBe('value')
    expect(two.cache.statistics.l2Hits).toBe(1)
    expect(
      await two.cache.getOrCreate<string>('a', never, { consistency: two.request(undefined, 'l2') }),
    ).toBe('value')
  })

  test.each(['t0', `t${maximumTags - 1}`])('ends, on both, with its tag %s', async (tag) => {
    const { one, two } = await startTwoNodes()
    await one.cache.getOrCreate('a', async () => 'old', declared['known beforehand'])
    await two.cache.getOrCreate<string>('a', never)
    await one.apply({ tags: [tag] })
    await two.check.run()
    expect(await two.cache.getOrCreate('a', async () => 'new')).toBe('new')
    expect(await one.cache.getOrCreate('a', async () => 'newer')).toBe('new')
  })

  test('may be set by hand, and is read by another node from L2', async () => {
    const { one, two } = await startTwoNodes()
    await one.cache.set('a', 'set', { stamp: one.cache.capture(), tags: tags(maximumTags) })
    expect(await two.cache.getOrCreate<string>('a', never)).toBe('set')
  })

  test('may contain cached reads that have as many of their own', async () => {
    const { one, two } = await startTwoNodes()
    const inner = (key: string) =>
      one.cache.getOrCreate(key, async () => key, {
        tags: tags(maximumTags).map((tag) => `${key}-${tag}`),
      })
    const outer = (node: SimulatedNode, load: () => Promise<string>) =>
      node.cache.getOrCreate('outer', load, { tags: tags(maximumTags) })
    await outer(one, async () => `${await inner('x')} and ${await inner('y')}`)
    expect(await outer(two, never)).toBe('x and y')
    await one.apply({ tags: [`y-t${maximumTags - 1}`] })
    await two.check.run()
    expect(await outer(two, async () => 'new')).toBe('new')
  })
})

describe('an entry with more tags than that', () => {
  const tooMany = tags(maximumTags + 1)

  test.each([
    ['known beforehand', { tags: tooMany }],
    ['learnt from the value', { tagsOf: () => tooMany }],
    ['in part from either', { tags: tooMany.slice(0, 60), tagsOf: () => tooMany.slice(60) }],
  ])('%s rejects the load that declares them, and nothing is kept', async (_how, options) => {
    const { one, two, shared } = await startTwoNodes()
    await expect(one.cache.getOrCreate('a', async () => 'value', options)).rejects.toThrow(RangeError)
    expect(shared.entries.size).toBe(0)
    for (const { cache } of [one, two]) expect(await cache.getOrCreate('a', async () => 'new')).toBe('new')
  })

  test('cannot be set by hand', async () => {
    const { one, shared } = await startTwoNodes()
    const set = one.cache.set('a', 'set', { stamp: one.cache.capture(), tags: tooMany })
    await expect(set).rejects.toThrow(RangeError)
    expect(shared.entries.size).toBe(0)
  })

  test.each([maximumTags + 1, 600, 5_000])(
    'of which the load itself learns %i is refused, or answered and, if it is kept, ended by each of them',
    async (count) => {
      const { one, two } = await startTwoNodes()
      let loads = 0
      const read = (node: SimulatedNode) =>
        node.cache.getOrCreate('a', async ({ tag }) => {
          tag(...tags(count))
          return `load ${++loads}`
        })
      const first = await read(one).catch((error: unknown) => error)
      if (first instanceof Error) {
        expect(first).toBeInstanceOf(RangeError)
        return
      }
      expect(first).toBe('load 1')
      expect(await read(two)).toMatch(/^load [12]$/)
      const before = loads
      await one.apply({ tags: [`t${count - 1}`] })
      await two.check.run()
      expect(await read(two)).toBe(`load ${before + 1}`)
    },
  )
})
