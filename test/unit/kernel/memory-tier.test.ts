import { expect, test } from '@jest/globals'
import fc from 'fast-check'
import { type CacheEntry, never } from '../../../src/kernel/cache/cache-entry.js'
import { CacheEvents } from '../../../src/kernel/cache/cache-events.js'
import { MemoryTier } from '../../../src/kernel/cache/memory-tier.js'
import { seed } from '../../support/seed.js'
import { silentLogger } from '../../support/silent-logger.js'

const stamp = { epoch: 'e', position: 1 }

function entry(): CacheEntry {
  return {
    kept: 'value',
    stamp,
    names: [],
    slots: [],
    obtainedAt: 0,
    freshUntil: 1_000,
    usableUntil: 1_000,
    refreshAt: never,
    usedAt: 0,
    failure: undefined,
    answer: undefined,
    keepable: true,
    bytes: 0,
    wholeMs: 1_000,
    life: undefined,
  }
}

test('what was used less than three quarters of the entries ago is still in memory, whatever else is read and added', () => {
  const maxEntries = 16
  const keys = fc.array(fc.nat(40), { minLength: 100, maxLength: 400 })
  fc.assert(
    fc.property(keys, (wanted) => {
      const memory = new MemoryTier('things', { maxEntries }, new CacheEvents(silentLogger))
      const lastUse = new Map<number, number>()
      for (const [now, key] of wanted.entries()) {
        const found = memory.get(`${key}`)
        if (now - (lastUse.get(key) ?? -100) < (maxEntries * 3) / 4) expect(found).toBeDefined()
        if (!found) memory.keep(`${key}`, entry())
        lastUse.set(key, now)
      }
      expect(memory.size).toBeLessThanOrEqual(maxEntries)
    }),
    { seed },
  )
})

test('what nobody reads goes before what is read now and then', () => {
  const memory = new MemoryTier('things', { maxEntries: 100 }, new CacheEvents(silentLogger))
  memory.keep('read', entry())
  memory.keep('unread', entry())
  for (let added = 0; added < 1_000; added++) {
    memory.keep(`${added}`, entry())
    if (added % 60 === 0) expect(memory.get('read')).toBeDefined()
  }
  expect(memory.get('unread')).toBeUndefined()
})
