import { getHeapStatistics } from 'node:v8'
import { describe, expect, test } from '@jest/globals'
import fc from 'fast-check'
import { CacheEvents } from '../../../src/kernel/cache/cache-events.js'
import { CacheEntry, never } from '../../../src/kernel/cache/entries/cache-entry.js'
import { defaultTotalBytes, MemoryBudget } from '../../../src/kernel/cache/entries/memory-budget.js'
import { MemoryTier } from '../../../src/kernel/cache/entries/memory-tier.js'
import { seed } from '../../support/seed.js'
import { silentLogger } from '../../support/silent-logger.js'

const stamp = { epoch: 'e', position: 1 }

function entry(bytes = 0): CacheEntry {
  return new CacheEntry({
    kept: 'value',
    stamp,
    names: [],
    slots: [],
    obtainedAt: 0,
    freshUntil: 1_000,
    usableUntil: 1_000,
    refreshAt: never,
    keepable: true,
    bytes,
    loadedAt: 0,
    wholeMs: 1_000,
    etag: undefined,
    lastModified: undefined,
    lasting: undefined,
  })
}

const memoryOf = (maxEntries: number, maxBytes?: number) =>
  new MemoryTier('things', { maxEntries, maxBytes }, new CacheEvents(silentLogger))

/** The same, as simple as can be: a list of keys, the oldest first, and the place of the hand in it. */
class ListedTier {
  readonly #list: { key: string; wasHit: boolean; bytes: number }[] = []
  #hand = 0

  constructor(
    readonly maxEntries: number,
    readonly maxBytes: number,
  ) {}

  get keys(): string[] {
    return this.#list.map(({ key }) => key)
  }

  get bytes(): number {
    return this.#list.reduce((sum, { bytes }) => sum + bytes, 0)
  }

  has(key: string): boolean {
    const found = this.#list.find((one) => one.key === key)
    if (found) found.wasHit = true
    return found !== undefined
  }

  keep(key: string, bytes: number): void {
    for (;;) {
      const replaced = this.#list.find((one) => one.key === key)
      const hasRoom = this.bytes - (replaced?.bytes ?? 0) + bytes <= this.maxBytes
      if (hasRoom && replaced) {
        replaced.bytes = bytes
        return
      }
      if (hasRoom && this.#list.length < this.maxEntries) {
        this.#list.push({ key, wasHit: false, bytes })
        return
      }
      this.#evict()
    }
  }

  delete(key: string): void {
    const index = this.#list.findIndex((one) => one.key === key)
    if (index < 0) return
    this.#list.splice(index, 1)
    if (index < this.#hand) this.#hand--
  }

  #evict(): void {
    for (let passed = 0; ; passed++) {
      if (this.#hand === this.#list.length) this.#hand = 0
      const at = this.#list[this.#hand] as { wasHit: boolean }
      if (!at.wasHit || passed === 64) {
        this.#list.splice(this.#hand, 1)
        return
      }
      at.wasHit = false
      this.#hand++
    }
  }
}

describe('memory', () => {
  test('holds what a list with a hand holds, whatever is read, kept and deleted', () => {
    const key = fc.nat(150).map(String)
    const step = fc.oneof(
      { weight: 6, arbitrary: fc.record({ do: fc.constant('read' as const), key }) },
      { weight: 4, arbitrary: fc.record({ do: fc.constant('keep' as const), key, bytes: fc.nat(30) }) },
      { weight: 1, arbitrary: fc.record({ do: fc.constant('delete' as const), key }) },
    )
    const limits = fc.record({
      maxEntries: fc.integer({ min: 1, max: 100 }),
      maxBytes: fc.integer({ min: 30, max: 2_000 }),
    })
    fc.assert(
      fc.property(
        limits,
        fc.array(step, { maxLength: 400, size: 'max' }),
        ({ maxEntries, maxBytes }, steps) => {
          const memory = memoryOf(maxEntries, maxBytes)
          const list = new ListedTier(maxEntries, maxBytes)
          for (const one of steps) {
            if (one.do === 'read') expect(memory.get(one.key) !== undefined).toBe(list.has(one.key))
            else if (one.do === 'delete') {
              memory.delete(one.key)
              list.delete(one.key)
            } else {
              memory.keep(one.key, entry(one.bytes))
              list.keep(one.key, one.bytes)
            }
            expect([memory.size, memory.bytes]).toEqual([list.keys.length, list.bytes])
          }
          for (const held of list.keys) expect(memory.get(held)).toBeDefined()
        },
      ),
      { seed },
    )
  })

  test('keeps what is asked for now and then, however much is read once beside it', () => {
    const memory = memoryOf(100)
    const wanted = Array.from({ length: 50 }, (_, index) => `wanted ${index}`)
    for (const key of wanted) memory.keep(key, entry())
    for (let added = 0; added < 10_000; added++) {
      memory.keep(`once ${added}`, entry())
      if (added % 40 === 0) for (const key of wanted) expect(memory.get(key)).toBeDefined()
    }
    expect(memory.size).toBe(100)
  })

  test('passes over no more than 64 entries to evict one, though all of them were asked for', () => {
    const memory = memoryOf(1_000)
    const keys = Array.from({ length: 1_000 }, (_, index) => `${index}`)
    for (const key of keys) memory.keep(key, entry())
    for (const key of keys) memory.get(key)
    memory.keep('one more', entry())
    expect(memory.size).toBe(1_000)
    expect(keys.filter((key) => memory.get(key) === undefined)).toEqual(['64'])
  })

  test('that is cleared is as new', () => {
    const memory = memoryOf(2, 100)
    for (const key of ['a', 'b', 'c']) memory.keep(key, entry(50))
    memory.clear()
    expect([memory.size, memory.bytes]).toEqual([0, 0])
    for (const key of ['a', 'b', 'c']) memory.keep(key, entry(50))
    expect(['a', 'b', 'c'].map((key) => memory.get(key) !== undefined)).toEqual([false, true, true])
    expect([memory.size, memory.bytes]).toEqual([2, 100])
  })
})

describe('memory that several caches share', () => {
  const shared = (maxBytes: number, count: number, limits: { maxBytes?: number } = {}) => {
    const budget = new MemoryBudget(maxBytes)
    const events = new CacheEvents(silentLogger)
    const caches = Array.from(
      { length: count },
      (_, index) => new MemoryTier(`cache ${index}`, { maxEntries: 1_000_000, ...limits }, events, budget),
    )
    return { budget, caches, events }
  }

  test('stays within its limit, and is counted exactly, whatever is kept, deleted and cleared', () => {
    const cache = fc.nat(2)
    const key = fc.nat(60).map(String)
    const step = fc.oneof(
      {
        weight: 8,
        arbitrary: fc.record({ do: fc.constant('keep' as const), cache, key, bytes: fc.nat(900) }),
      },
      { weight: 2, arbitrary: fc.record({ do: fc.constant('delete' as const), cache, key }) },
      { weight: 1, arbitrary: fc.record({ do: fc.constant('clear' as const), cache }) },
    )
    fc.assert(
      fc.property(fc.nat(20_000), fc.array(step, { maxLength: 300, size: 'max' }), (maxBytes, steps) => {
        const { budget, caches } = shared(maxBytes, 3)
        for (const one of steps) {
          const memory = caches[one.cache]!
          if (one.do === 'keep') {
            const kept = memory.keep(one.key, entry(one.bytes))
            expect(memory.get(one.key) !== undefined).toBe(kept)
          } else if (one.do === 'delete') memory.delete(one.key)
          else memory.clear()
          expect(budget.heldBytes).toBeLessThanOrEqual(maxBytes)
          expect(budget.heldBytes).toBe(caches.reduce((sum, { heldBytes }) => sum + heldBytes, 0))
        }
        for (const memory of caches) memory.clear()
        expect(budget.heldBytes).toBe(0)
      }),
      { seed },
    )
  })

  test('is taken from the largest cache, so that a flood of new keys in one evicts nothing from another', () => {
    const { budget, caches, events } = shared(1_000_000, 2)
    const [wanted, flooded] = caches as [MemoryTier, MemoryTier]
    const reasons = new Set<string>()
    events.on('evicted', ({ cache, reason }) => reasons.add(`${cache}: ${reason}`))
    for (let index = 0; index < 100; index++) wanted.keep(`${index}`, entry(1_000))
    for (let index = 0; index < 10_000; index++) flooded.keep(`${index}`, entry(1_000))
    expect([wanted.size, wanted.evictions]).toEqual([100, 0])
    expect(flooded.evictions).toBeGreaterThan(9_000)
    expect(budget.heldBytes).toBeGreaterThan(990_000)
    expect([...reasons]).toEqual(['cache 1: total-bytes'])
  })

  test('includes keys and names, however small the values are', () => {
    const { caches } = shared(10_000_000, 1)
    for (let index = 0; index < 100_000; index++) caches[0]!.keep(`${index}`, entry(0))
    expect(caches[0]!.size).toBeLessThan(40_000)
    caches[0]!.clear()
    for (let index = 0; index < 10_000; index++) caches[0]!.keep(`${index}`.padStart(1_024), entry(0))
    expect(caches[0]!.size).toBeLessThan(5_000)
  })

  test('is a quarter of the heap unless somebody says otherwise', () => {
    const { heap_size_limit: heap } = getHeapStatistics()
    expect(defaultTotalBytes() / heap).toBeCloseTo(0.25)
  })

  test('refuses a value that is larger than all of it', () => {
    const { caches } = shared(100_000, 1)
    caches[0]!.keep('small', entry(1_000))
    expect(caches[0]!.keep('large', entry(100_000))).toBe(false)
    expect([caches[0]!.size, caches[0]!.evictions]).toEqual([1, 0])
  })
})

describe('an entry', () => {
  test('is the promise of its value, and as short to await as any once it is shared', async () => {
    const one = entry()
    expect([await one, await one.then((value) => `${value}!`)]).toEqual(['value', 'value!'])
    expect(one.finally(() => {})).not.toBeInstanceOf(CacheEntry)
    CacheEntry.share(one)
    // By any other, `await` would have to look further.
    expect(Object.getPrototypeOf(one)).toBe(Promise.prototype)
    expect([await one, await one.then((value) => `${value}!`)]).toEqual(['value', 'value!'])
    expect(await Promise.all([one, one.finally(() => {})])).toEqual(['value', 'value'])
  })
})
