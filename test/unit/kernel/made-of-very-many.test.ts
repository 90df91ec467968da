import { describe, expect, test } from '@jest/globals'
import { fewNames, maximumNames } from '../../../src/kernel/cache/entries/few-names.js'
import { defaultEntryOptions } from '../../../src/kernel/cache/entry-options.js'
import { HybridCache } from '../../../src/kernel/cache/hybrid-cache.js'
import { dependencyOn } from '../../../src/kernel/journal/invalidation-rules.js'
import { InMemoryJournal } from '../../support/in-memory-journal.js'
import { InMemoryTier } from '../../support/in-memory-tier.js'
import { ManualClock } from '../../support/manual-clock.js'
import { cacheName, type SimulatedNode, startSimulatedNode } from '../../support/simulated-node.js'

const count = 700

async function started() {
  const settings = { journal: new InMemoryJournal(), clock: new ManualClock(), shared: new InMemoryTier() }
  const one = await startSimulatedNode(settings)
  const two = await startSimulatedNode(settings)
  const caches = [one, two].map((node) => {
    const limits = { maxEntries: 10, maxKeyLength: 1_024 }
    const options = {
      name: 'Page',
      declaration: 'd1',
      cacheAbsent: false,
      entry: defaultEntryOptions,
      ...limits,
    }
    return { node, pages: new HybridCache(options, node.dependencies) }
  })
  let version = 1
  const page = ({ node, pages }: { node: SimulatedNode; pages: HybridCache }) =>
    pages.getOrCreate<unknown>('page', async () => {
      const parts: string[] = []
      for (let index = 0; index < count; index++) {
        const tags = [`tag of ${index}`]
        parts.push(await node.cache.getOrCreate(`part ${index}`, async () => `${index}`, { tags }))
      }
      return `page ${version++} of ${parts.length}`
    })
  return { one, two, caches, page }
}

describe('a value made from very many cached values', () => {
  test('is kept, in both tiers', async () => {
    const { caches, page } = await started()
    for (const cache of [...caches, ...caches]) expect(await page(cache)).toBe(`page 1 of ${count}`)
  })

  const events: Readonly<Record<string, (node: SimulatedNode) => Promise<void>>> = {
    'an event that names the key of one of them': (node) => node.apply({ keys: [`part ${count - 1}`] }),
    'an event that names the tag of one of them': (node) => node.apply({ tags: ['tag of 0'] }),
    'the removal of one of them': (node) => node.cache.remove('part 5'),
    'the expiration of one of them': (node) => node.cache.expire('part 5'),
    'the removal of a tag of one of them': (node) => node.cache.removeByTag('tag of 7'),
    'the removal of everything': (node) => node.cache.clear(),
  }
  test.each(Object.entries(events))('goes stale on every node with %s', async (_, happen) => {
    const { one, two, caches, page } = await started()
    for (const cache of caches) await page(cache)
    await happen(one)
    await two.check.run()
    for (const cache of caches) expect(await page(cache)).toBe(`page 2 of ${count}`)
  })

  test('stays fresh after events that concern none of them', async () => {
    const { one, caches, page } = await started()
    const [first] = caches
    await page(first!)
    await first!.pages.remove('another page')
    await one.check.run()
    expect(await page(first!)).toBe(`page 1 of ${count}`)
  })
})

describe('the names of a value', () => {
  const names = (many: number, name: (index: number) => string) =>
    Array.from({ length: many }, (_, index) => name(index))

  test('stay as they are while they are few', () => {
    const few = names(maximumNames, (index) => dependencyOn.key(cacheName, `${index}`))
    expect(fewNames(new Set(few))).toEqual(few)
  })

  test('are replaced by "any key" first, and by "any tag" if that is not enough', () => {
    const keys = names(500, (index) => dependencyOn.key(cacheName, `a:b${index}`))
    const tags = names(100, (index) => dependencyOn.tag(`${index}`))
    const cache = dependencyOn.cache(cacheName)
    expect(fewNames(new Set([...keys, cache, ...tags]))).toEqual([
      dependencyOn.anyKey(cacheName),
      cache,
      ...tags,
    ])
    const more = names(600, (index) => dependencyOn.tag(`${index}`))
    expect(fewNames(new Set([...keys, cache, ...more]))).toEqual([
      dependencyOn.anyKey(cacheName),
      cache,
      dependencyOn.anyTag,
    ])
  })
})
