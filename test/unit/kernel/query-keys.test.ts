import 'reflect-metadata'
import { beforeEach, describe, expect, test } from '@jest/globals'
import { Container } from 'inversify'
import { Caches } from '../../../src/kernel/cache/caches.js'
import { defaultEntryOptions } from '../../../src/kernel/cache/entry-options.js'
import { AmbiguousKeyError, type CachingDeclaration } from '../../../src/kernel/cqrs/caching.js'
import { HandlerRegistry } from '../../../src/kernel/cqrs/handler-registry.js'
import { queryHandler } from '../../../src/kernel/cqrs/handlers.js'
import { query } from '../../../src/kernel/cqrs/message.js'
import { QueryBus } from '../../../src/kernel/cqrs/query-bus.js'
import { domainEvent, z } from '../../../src/kernel/domain/index.js'
import { on } from '../../../src/kernel/journal/invalidation-rules.js'
import { InMemoryTier } from '../../support/in-memory-tier.js'
import { oneModule } from '../../support/one-module.js'
import { type SimulatedNode, startSimulatedNode } from '../../support/simulated-node.js'

interface Thing {
  readonly id: string
  readonly group: string
}

class ThingChanged extends domainEvent('things.changed', z.object({ id: z.string(), group: z.string() })) {}
class GetThing extends query(z.strictObject({ id: z.string() })).returning<Thing | null>() {}
class ListThings extends query(z.strictObject({ group: z.string(), after: z.string().optional() })).returning<
  readonly string[]
>() {}
class GetReport extends query(z.strictObject({ group: z.string() })).returning<string>() {}

const getThing: CachingDeclaration<typeof GetThing> = {
  key: ({ id }) => id,
  keyOfAnswer: ({ id }) => id,
  createdBy: [on(ThingChanged, ({ id }) => ({ keys: [id] }))],
  invalidatedBy: [],
}
const listThings: CachingDeclaration<typeof ListThings> = {
  key: ({ group, after }) => (after === undefined ? group : undefined),
  keyOfAnswer: 'none',
  keepIf: (ids) => ids.length > 0,
  tags: ({ group }) => [`things:${group}`],
  invalidatedBy: [on(ThingChanged, ({ group }) => ({ tags: [`things:${group}`] }))],
}

describe('the key of a cached query', () => {
  let node: SimulatedNode
  let shared: InMemoryTier
  let queryBus: QueryBus
  /** The rows of the database, and how it compares ids. */
  let rows: Thing[]
  let isSame: (one: string, other: string) => boolean
  let loads: string[]

  beforeEach(async () => {
    shared = new InMemoryTier()
    node = await startSimulatedNode({ shared })
    rows = [{ id: '1', group: 'a' }]
    isSame = (one, other) => one === other
    loads = []
    start()
  })

  function start(caching: CachingDeclaration<typeof GetThing> = getThing): void {
    @queryHandler(GetThing, caching)
    class GetThingHandler {
      async execute({ id }: GetThing): Promise<Thing | null> {
        loads.push(id)
        return rows.find((row) => isSame(row.id, id)) ?? null
      }
    }
    @queryHandler(ListThings, listThings)
    class ListThingsHandler {
      async execute({ group, after = '' }: ListThings): Promise<readonly string[]> {
        loads.push(`${group} after ${after}`)
        return rows.filter((row) => row.group === group && row.id > after).map(({ id }) => id)
      }
    }
    @queryHandler(GetReport, { key: ({ group }) => group, keyOfAnswer: 'none', invalidatedBy: [] })
    class GetReportHandler {
      async execute({ group }: GetReport): Promise<string> {
        return (await queryBus.execute(new ListThings({ group, after: '0' }))).join()
      }
    }
    const handlers = new HandlerRegistry(
      oneModule({
        events: [ThingChanged],
        handlers: [GetThingHandler, ListThingsHandler, GetReportHandler],
      }),
    )
    handlers.construct(new Container())
    const caches = new Caches(node.dependencies, node.rules, {
      entry: { ...defaultEntryOptions, clusterSingleFlight: false },
      limits: { maxEntries: 1_000 },
    })
    queryBus = new QueryBus(handlers, caches)
  }

  const kept = (type: typeof GetThing | typeof ListThings = GetThing) => ({
    l1: queryBus.cacheOf(type)?.inMemory.entries,
    l2: shared.entries.size,
  })

  async function change(thing: Thing): Promise<void> {
    rows = [...rows.filter(({ id }) => id !== thing.id), thing]
    node.journal.commit('things.changed', thing)
    node.clock.advance(1)
    await node.check.run()
  }

  test.each<[string, string, string, typeof isSame]>([
    ['a collation that ignores case', 'Ada', 'ADA', (a, b) => a.toLowerCase() === b.toLowerCase()],
    ['a UUID in braces', '0a8b', '{0a8b}', (a, b) => a === b.replace(/[{}]/g, '')],
    ['a number with a leading zero', '1', '01', (a, b) => Number(a) === Number(b)],
    ['a number with a fraction of nothing', '1', '1.0', (a, b) => Number(a) === Number(b)],
    ['blanks at the end of a char(n)', 'a', 'a  ', (a, b) => a.trimEnd() === b.trimEnd()],
    [
      'a moment in another zone',
      '2026-01-02T03:04Z',
      '2026-01-02T04:04+01:00',
      (a, b) => +new Date(a) === +new Date(b),
    ],
    ['another form of Unicode', '\u00E9', 'e\u0301', (a, b) => a.normalize() === b.normalize()],
  ])(
    'is compared with the key of the answer; if they differ, the read fails and nothing is kept: %s',
    async (_what, id, other, equality) => {
      rows = [{ id, group: 'a' }]
      isSame = equality
      for (const attempt of [1, 2]) {
        await expect(queryBus.execute(new GetThing({ id: other }))).rejects.toThrow(AmbiguousKeyError)
        expect([loads.length, kept()]).toEqual([attempt, { l1: 0, l2: 0 }])
      }
      await expect(queryBus.execute(new GetThing({ id: other }))).rejects.toThrow(
        `GetThing: the answer for the key ${JSON.stringify(other)} says that its key is ${JSON.stringify(id)}`,
      )
      expect(await queryBus.execute(new GetThing({ id }))).toEqual({ id, group: 'a' })
      expect(kept()).toEqual({ l1: 1, l2: 1 })
    },
  )

  test('is compared with the key of the answer when that is loaded, not at every hit', async () => {
    let compared = 0
    start({
      ...getThing,
      keyOfAnswer: ({ id }) => {
        compared++
        return id
      },
    })
    for (let read = 0; read < 5; read++) await queryBus.execute(new GetThing({ id: '1' }))
    expect([loads.length, compared]).toEqual([1, 1])
  })

  test('may contain what only the query knows', async () => {
    start({
      ...getThing,
      key: ({ id }) => `tenant|${id}`,
      keyOfAnswer: ({ id }, asked) => `tenant|${asked.id && id}`,
    })
    expect(await queryBus.execute(new GetThing({ id: '1' }))).toEqual({ id: '1', group: 'a' })
    expect(kept().l1).toBe(1)
  })

  test('is not compared if the answer is null', async () => {
    expect(await queryBus.execute(new GetThing({ id: '7' }))).toBeNull()
    expect(kept().l1).toBe(1)
    await change({ id: '7', group: 'a' })
    expect(await queryBus.execute(new GetThing({ id: '7' }))).toEqual({ id: '7', group: 'a' })
  })

  test('may be undefined: then each read loads, is marked as a bypass, and keeps nothing', async () => {
    for (const attempt of [1, 2]) {
      const request = node.request()
      expect(await queryBus.execute(new ListThings({ group: 'a', after: '0' }), request)).toEqual(['1'])
      expect([request.source, loads.length]).toEqual(['bypass', attempt])
    }
    expect(kept(ListThings)).toEqual({ l1: 0, l2: 0 })
    expect(queryBus.cacheOf(ListThings)?.statistics.bypasses).toBe(2)
  })

  test('may be undefined: the token of the request is honoured all the same', async () => {
    node.journal.commit('things.changed', { id: '2', group: 'a' })
    await node.journal.number(1)
    const { epoch, head } = node.journal
    expect(node.applied.position).toBeLessThan(head)
    const request = node.request({ epoch, position: head })
    await queryBus.execute(new ListThings({ group: 'a', after: '0' }), request)
    expect(node.applied.position).toBe(head)
  })

  test('may be undefined: a value made from the answer goes stale with the tags of the answer', async () => {
    const report = () => queryBus.execute(new GetReport({ group: 'a' }))
    expect(await report()).toBe('1')
    await change({ id: '9', group: 'b' })
    expect([await report(), loads.length]).toEqual(['1', 1])
    await change({ id: '2', group: 'a' })
    expect(await report()).toBe('1,2')
  })

  test('makes no entry for an answer that keepIf refuses', async () => {
    for (const attempt of [1, 2]) {
      expect(await queryBus.execute(new ListThings({ group: 'unknown' }))).toEqual([])
      expect([loads.length, kept(ListThings)]).toEqual([attempt, { l1: 0, l2: 0 }])
    }
    expect(await queryBus.execute(new ListThings({ group: 'a' }))).toEqual(['1'])
    expect(kept(ListThings)).toEqual({ l1: 1, l2: 1 })
  })
})
