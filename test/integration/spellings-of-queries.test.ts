import { randomUUID } from 'node:crypto'
import { isDeepStrictEqual } from 'node:util'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import type { CommandBus } from '../../src/kernel/cqrs/command-bus.js'
import { declarationOf, type QueryHandlerDeclaration } from '../../src/kernel/cqrs/handlers.js'
import type { QueryClass, Returning } from '../../src/kernel/cqrs/message.js'
import { Consistency } from '../../src/kernel/journal/consistency.js'
import { InvalidationRules } from '../../src/kernel/journal/invalidation-rules.js'
import { PutFeatureFlag } from '../../src/modules/feature-flags/commands/put-feature-flag.js'
import { PutProduct } from '../../src/modules/pricing/commands/put-product.js'
import { ChangeUser } from '../../src/modules/users/commands/change-user.js'
import { RegisterUser } from '../../src/modules/users/commands/register-user.js'
import type { Node } from '../../src/node.js'
import { modules } from '../../src/service-modules.js'
import { RandomNumbers } from '../consistency/random-numbers.js'
import { createFreshDatabase, type FreshDatabase, query } from '../support/fresh-database.js'
import { inRandomCase, respelled, withTexts } from '../support/respelled.js'
import { seed } from '../support/seed.js'
import { rareChecks, startTestNode } from '../support/test-node.js'
import { freshEmail } from '../support/users.js'

type Command = Returning<unknown, 'command'> & object

/** What a query is asked for that finds something, and a command after which the answer is another one. */
interface Sample {
  readonly asked: object
  readonly change: () => Command
}

const putFlag = (name: string) => new PutFeatureFlag({ name, enabled: true, description: randomUUID() })
const putProduct = (sku: string, category: string) =>
  new PutProduct({ sku, name: randomUUID(), category, priceCents: 100, currency: 'EUR' })

/** By the name of the query. A new query has its line here; the rest follows from its declaration. */
const samples: Readonly<Record<string, (bus: CommandBus, writing: Consistency) => Promise<Sample>>> = {
  GetUser: async (bus, writing) => {
    const { id: userId } = await bus.execute(new RegisterUser({ email: freshEmail(), name: 'Ada' }), writing)
    return { asked: { userId }, change: () => new ChangeUser({ userId, name: randomUUID() }) }
  },
  GetFeatureFlag: async (bus, writing) => {
    const name = `Flag-${randomUUID()}.1`
    await bus.execute(putFlag(name), writing)
    return { asked: { name }, change: () => putFlag(name) }
  },
  ListFeatureFlags: async (bus, writing) => {
    await bus.execute(putFlag('First-Flag'), writing)
    return { asked: { limit: 100 }, change: () => putFlag('First-Flag') }
  },
  GetProduct: async (bus, writing) => {
    const sku = `01.0-${randomUUID()}`
    await bus.execute(putProduct(sku, 'Tea'), writing)
    return { asked: { sku }, change: () => putProduct(sku, 'Tea') }
  },
  ListProducts: async (bus, writing) => {
    const category = `Tea.${randomUUID()}`
    await bus.execute(putProduct(`${category}-1`, category), writing)
    return { asked: { category, limit: 100 }, change: () => putProduct(`${category}-1`, category) }
  },
}

const declarations = modules
  .flatMap(({ handlers = [] }) => handlers.map(declarationOf))
  .filter((one): one is QueryHandlerDeclaration => one.kind === 'query' && one.caching !== undefined)
const cachedQueries = declarations.map(({ message }) => message)

const rowsOfEach = 4
const spellingsOfEach = 60

describe(`every cached query of the modules, SEED=${seed}`, () => {
  let database: FreshDatabase
  let node: Node
  let sameThings = 0

  beforeAll(async () => {
    database = await createFreshDatabase()
    node = await startTestNode(database, { env: rareChecks, redis: false })
  })
  afterAll(async () => {
    await node.stop()
    await database.drop()
  })

  const newRequest = (token?: Consistency['token']) =>
    new Consistency(node.parts.check, node.parts.applied, token)

  function ask(type: QueryClass, asked: unknown, request: Consistency): Promise<unknown> {
    return node.parts.queryBus.execute(
      new type(asked as never) as Returning<unknown, 'query'> & object,
      request,
    )
  }

  test.each(cachedQueries.map((type) => [type.name, type] as const))(
    '%s: all spellings of one thing that it takes share one entry, and show what a write changed',
    async (name, type) => {
      const sample = samples[name]
      if (!sample) throw new Error(`Say in \`samples\` what ${name} may be asked for`)
      const random = new RandomNumbers(seed)
      const cache = node.parts.queryBus.cacheOf(type)
      for (let row = 0; row < rowsOfEach; row++) {
        const writing = newRequest()
        const { asked, change } = await sample(node.parts.commandBus, writing)
        // With its token, as what is loaded before the node has applied a write is stale at once.
        const before = await ask(type, asked, newRequest(writing.token))
        expect(before).not.toBeNull()

        const same: unknown[] = [asked]
        for (let spelling = 0; spelling < spellingsOfEach; spelling++) {
          const otherwise = withTexts(asked, (text) => respelled(text, random))
          if (!type.schema.safeParse(otherwise).success) continue
          const entriesBefore = cache?.inMemory.entries
          const request = newRequest()
          const answer = await ask(type, otherwise, request)
          // Another thing, or nothing, is another matter: the database tells them apart, too.
          if (!isDeepStrictEqual(answer, before)) continue
          expect([otherwise, request.source, cache?.inMemory.entries]).toEqual([
            otherwise,
            'l1',
            entriesBefore,
          ])
          same.push(otherwise)
        }

        await node.parts.commandBus.execute(change(), writing)
        const after = await ask(type, asked, newRequest(writing.token))
        expect(after).not.toEqual(before)
        for (const otherwise of same) {
          expect([otherwise, await ask(type, otherwise, newRequest(writing.token))]).toEqual([
            otherwise,
            after,
          ])
        }
        sameThings += same.length - 1
      }
    },
  )

  test('their spellings were not all of other things', () => {
    expect(sameThings).toBeGreaterThan(rowsOfEach)
  })

  test('every event that was raised invalidates the same keys and tags in whatever case its ids are', async () => {
    const random = new RandomNumbers(seed)
    const raised = await query<{ type: string; payload: unknown }>(
      database,
      'select distinct on (type) type, payload from aftercommit_kernel.outbox_message',
    )
    expect(raised.length).toBeGreaterThanOrEqual(cachedQueries.length)
    const rules = new InvalidationRules()
    for (const { message, caching } of declarations) {
      for (const mapping of [...(caching?.invalidatedBy ?? []), ...(caching?.createdBy ?? [])])
        rules.declare(message.name, mapping)
    }
    const isId = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i
    for (const { type, payload } of raised) {
      const effectOf = (of: unknown) => rules.effectOf({ position: 1, numberingId: '', type, payload: of })
      expect(effectOf(payload)).not.toHaveProperty('flush')
      for (let spelling = 0; spelling < spellingsOfEach; spelling++) {
        const otherwise = withTexts(payload, (text) => (isId.test(text) ? inRandomCase(text, random) : text))
        expect([otherwise, effectOf(otherwise)]).toEqual([otherwise, effectOf(payload)])
      }
    }
  })
})
