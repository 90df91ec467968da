import { describe, expect, test } from '@jest/globals'
import { CyclicLoadError } from '../../../src/kernel/cache/cache-errors.js'
import { defaultEntryOptions } from '../../../src/kernel/cache/entry-options.js'
import { HybridCache } from '../../../src/kernel/cache/hybrid-cache.js'
import {
  runInScope,
  type TransactionResources,
  TransactionScope,
} from '../../../src/kernel/persistence/transaction-scope.js'
import { Gate, settle } from '../../support/gate.js'
import { InMemoryTier } from '../../support/in-memory-tier.js'
import { maxStalenessMs, startSimulatedNode } from '../../support/simulated-node.js'

async function started(entry: Partial<typeof defaultEntryOptions> = {}) {
  const node = await startSimulatedNode({
    shared: new InMemoryTier(),
    entry: { clusterSingleFlight: true, ...entry },
  })
  const settings = { declaration: 'd1', maxEntries: 10, cacheAbsent: false, maxKeyLength: 1_024 }
  const cacheNamed = (name: string) =>
    new HybridCache({ ...settings, name, entry: { ...defaultEntryOptions, ...entry } }, node.dependencies)
  return { node, a: cacheNamed('A'), b: cacheNamed('B'), cacheNamed }
}

async function failureOf(work: () => Promise<unknown>): Promise<CyclicLoadError> {
  const failure = await work().then(
    (value) => new Error(`It was answered: ${String(value)}`),
    (error: Error) => error,
  )
  expect(failure).toBeInstanceOf(CyclicLoadError)
  return failure as CyclicLoadError
}

const inUnitOfWork = (work: () => Promise<unknown>) =>
  runInScope(new TransactionScope({} as TransactionResources), work)

describe('a load that asks for its own key', () => {
  test('fails, and the error names the key', async () => {
    const { a } = await started()
    const load = (): Promise<unknown> => a.getOrCreate('x', load)
    const failure = await failureOf(load)
    expect(failure.chain).toEqual(['A "x"', 'A "x"'])
    expect(failure.message).toContain('A "x" → A "x"')
    expect(await a.getOrCreate('x', async () => 'value')).toBe('value')
  })

  test('fails through another cache, and the error names the chain of loads', async () => {
    const { a, b } = await started()
    const load = (): Promise<unknown> => a.getOrCreate('x', () => b.getOrCreate('y', load))
    expect((await failureOf(load)).chain).toEqual(['A "x"', 'B "y"', 'A "x"'])
  })

  test('fails even if fail-safe has an old value, which would hide the mistake', async () => {
    const { a, node } = await started({ failSafe: true, l1TtlMs: 100, l2TtlMs: 100 })
    await a.getOrCreate('x', async () => 'old')
    node.clock.advance(100)
    const load = (): Promise<unknown> => a.getOrCreate('x', load)
    await failureOf(load)
  })

  test('fails through getMany', async () => {
    const { a, b } = await started()
    const load = (): Promise<unknown> =>
      a.getMany(['x', 'y'], async () => {
        await b.getOrCreate('z', load)
        return new Map()
      })
    expect((await failureOf(load)).chain).toEqual(['A "x", "y"', 'B "z"', 'A "x", "y"'])
  })

  test('fails inside a unit of work', async () => {
    const { a } = await started()
    const load = (): Promise<unknown> => inUnitOfWork(() => a.getOrCreate('x', load))
    await failureOf(load)
  })

  test('fails inside getMany inside a unit of work', async () => {
    const { a } = await started()
    const load = (): Promise<unknown> =>
      inUnitOfWork(() =>
        a.getMany(['x'], async () => {
          await load()
          return new Map()
        }),
      )
    await failureOf(load)
  })

  test('fails without a lease', async () => {
    const { a, b, node } = await started()
    node.clock.advance(maxStalenessMs)
    const load = (): Promise<unknown> => a.getOrCreate('x', () => b.getOrCreate('y', load))
    await failureOf(load)
  })

  test('may still ask whether its value is cached', async () => {
    const { a } = await started()
    const load = () => a.getOrCreate('x', async () => [a.peek('x'), await a.get('x')])
    expect(await load()).toEqual([undefined, undefined])
  })
})

describe('two loads that would wait for each other', () => {
  test('fail for the requests at both ends of a cycle', async () => {
    const { a, b } = await started()
    const bothBegan = new Gate()
    let begun = 0
    const meet = async () => {
      if (++begun === 2) bothBegan.open()
      await bothBegan.opened
    }
    const x = (): Promise<unknown> => a.getOrCreate('x', () => meet().then(y))
    const y = (): Promise<unknown> => b.getOrCreate('y', () => meet().then(x))
    const [one, other] = await Promise.all([failureOf(x), failureOf(y)])
    expect([one.chain.length, other.chain.length]).toEqual([3, 3])
  })

  test('fail for requests on a cycle of many', async () => {
    const { cacheNamed } = await started()
    const count = 7
    const caches = Array.from({ length: count }, (_, index) => cacheNamed(`C${index}`))
    const allBegan = new Gate()
    let begun = 0
    const read = (index: number): Promise<unknown> =>
      (caches[index % count] as HybridCache).getOrCreate('k', async () => {
        if (++begun === count) allBegan.open()
        await allBegan.opened
        return read(index + 1)
      })
    await Promise.all(caches.map((_, index) => failureOf(() => read(index))))
  })

  test('both succeed where one call loads a value together with a part of the other', async () => {
    const { a, b } = await started()
    const part = () => a.getOrCreate('part', async () => 'part')
    const whole = () => b.getOrCreate('whole', async () => `whole of ${await part()}`)
    const both = a.getMany(['page', 'part'], async () => {
      await settle()
      return new Map([
        ['page', `page of ${await whole()}`],
        ['part', 'part'],
      ])
    })
    expect(Object.fromEntries(await both)).toEqual({ page: 'page of whole of part', part: 'part' })
  })
})

test('work that a load left running may ask for the load’s key', async () => {
  const { a } = await started()
  const gate = new Gate()
  let late: Promise<unknown> | undefined
  const load = async () => {
    late ??= gate.opened.then(() =>
      a.getOrCreate('x', async () => 'late', { entry: { skipL1Read: true, skipL2Read: true } }),
    )
    return 'value'
  }
  expect(await a.getOrCreate('x', load)).toBe('value')
  gate.open()
  expect(await late).toBe('late')
})

test('work that a load left running may load a value that is made from the load’s own', async () => {
  const { a, b } = await started()
  const begun = new Gate()
  const gate = new Gate()
  let late: Promise<unknown> | undefined
  const afresh = { entry: { skipL1Read: true, skipL2Read: true } }
  await a.getOrCreate('x', async () => {
    late = b.getOrCreate('y', async () => {
      begun.open()
      await gate.opened
      return `y of ${await a.getOrCreate('x', async () => 'x', afresh)}`
    })
    await begun.opened
    return 'value'
  })
  gate.open()
  expect(await late).toBe('y of x')
})
