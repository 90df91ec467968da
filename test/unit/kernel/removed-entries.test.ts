import { setImmediate as turn } from 'node:timers/promises'
import { describe, expect, test } from '@jest/globals'
import { InMemoryJournal } from '../../support/in-memory-journal.js'
import { InMemoryTier } from '../../support/in-memory-tier.js'
import { ManualClock } from '../../support/manual-clock.js'
import { type SimulatedNode, startSimulatedNode } from '../../support/simulated-node.js'
import { until } from '../../support/until.js'

const keysOf = (count: number) => Array.from({ length: count }, (_, index) => `${index}`)

async function filled(count: number): Promise<SimulatedNode> {
  const node = await startSimulatedNode({ cache: { maxEntries: count }, entry: { failSafe: true } })
  for (const key of keysOf(count))
    await node.cache.getOrCreate(key, async () => ({ key }), { tags: [Number(key) % 2 ? 'odd' : 'even'] })
  expect(node.cache.inMemory.entries).toBe(count)
  return node
}

describe('memory is freed', () => {
  test('at once when a cache is cleared', async () => {
    const node = await filled(10_000)
    await node.cache.clear()
    expect(node.cache.inMemory).toMatchObject({ entries: 0, bytes: 0, evictions: 0 })
    await node.cache.getOrCreate('0', async () => 'new')
    expect(node.cache.inMemory.entries).toBe(1)
  })

  test('at once for keys that are removed, and for no others', async () => {
    const node = await filled(2_000)
    await node.cache.remove('0', '2')
    expect(node.cache.inMemory.entries).toBe(1_998)
    expect(node.cache.peek('4')).toEqual({ key: '4' })
    expect(node.cache.peek('2')).toBeUndefined()
  })

  test('not for entries with a removed tag, because finding them would mean searching all entries', async () => {
    const node = await filled(2_000)
    await node.cache.removeByTag('odd')
    await turn()
    expect(node.cache.inMemory.entries).toBe(2_000)
  })

  test('neither for entries that fail-safe may still answer, nor for those loaded since', async () => {
    const node = await filled(1_500)
    await node.cache.clear({ keepFailSafe: true })
    await node.cache.expire('1')
    await node.apply({ keys: ['2'] })
    for (let count = 0; count < 5; count++) await turn()
    expect(node.cache.inMemory.entries).toBe(1_500)
    await node.cache.clear()
    await node.cache.getOrCreate('new', async () => 'new')
    await until('the others are gone', () => node.cache.inMemory.entries === 1)
    expect(node.cache.peek('new')).toBe('new')
  })

  test('not for an entry that another node has loaded since the removal', async () => {
    const settings = { journal: new InMemoryJournal(), clock: new ManualClock(), shared: new InMemoryTier() }
    const one = await startSimulatedNode(settings)
    const two = await startSimulatedNode(settings)
    await one.cache.remove('a')
    await one.cache.getOrCreate('a', async () => 'new')
    const never = () => Promise.reject(new Error('it was in L2'))
    expect(await two.cache.getOrCreate('a', never)).toBe('new')
    await two.check.run()
    expect(two.applied.position).toBe(one.applied.position)
    expect(two.cache.peek('a')).toBe('new')
  })

  test('when this node has missed which entries were removed', async () => {
    const node = await filled(10)
    const { applied } = node
    applied.flushTo(
      { head: applied.position + 5, headId: 'x' } as Parameters<typeof applied.flushTo>[0],
      'gone',
    )
    expect(node.cache.inMemory.entries).toBe(0)
  })
})
