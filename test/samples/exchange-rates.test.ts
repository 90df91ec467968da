import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, beforeEach, expect, test } from '@jest/globals'
import { ContainerModule } from 'inversify'
import type { Node } from '../../src/node.js'
import { createFreshDatabase, type FreshDatabase } from '../support/fresh-database.js'
import { oneModule } from '../support/one-module.js'
import { startTestNode } from '../support/test-node.js'
import { until } from '../support/until.js'
import {
  exchangeRates,
  GetRate,
  GetRateHandler,
  type Rate,
  RateService,
  RatesPublished,
} from './exchange-rates.js'

/** What the rate service has, and how it has answered. */
let rate: Rate
let statuses: number[]
let server: Server
let database: FreshDatabase
let node: Node

beforeAll(async () => {
  server = createServer(({ headers }, response) => {
    const etag = JSON.stringify(`${rate.perUnit}`)
    const status = headers['if-none-match'] === etag ? 304 : 200
    statuses.push(status)
    response.writeHead(status, { ETag: etag }).end(status === 200 ? JSON.stringify(rate) : undefined)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  const offered = oneModule({
    name: 'rates',
    events: [RatesPublished],
    handlers: [GetRateHandler],
    caches: [exchangeRates],
    bindings: new ContainerModule(({ bind }) => {
      bind(RateService).toConstantValue(new RateService(`http://127.0.0.1:${port}`))
    }),
  })
  database = await createFreshDatabase()
  node = await startTestNode(database, { redis: false, offered })
})
beforeEach(async () => {
  await node.parts.caches.clear()
  rate = { perUnit: 0.95, bank: 'ecb', provisional: false }
  statuses = []
})
afterAll(async () => {
  await node.stop()
  await database.drop()
  server.closeAllConnections()
  server.close()
})

const get = () => node.parts.queryBus.execute(new GetRate({ from: 'EUR', to: 'CHF' }))

test('a rate is fetched once, and again once another is published', async () => {
  await get()
  rate = { ...rate, perUnit: 0.96 }
  expect(await get()).toMatchObject({ perUnit: 0.95 })
  await node.parts.outbox.write([new RatesPublished({ pairs: ['EUR/CHF'] })])
  expect(await get()).toMatchObject({ perUnit: 0.96 })
  expect(statuses).toEqual([200, 200])
})

test('the rates of a bank are removed by its tag, also one that was found unchanged', async () => {
  await get()
  await node.parts.caches.of(exchangeRates).expire('EUR/CHF')
  await get()
  expect(statuses).toEqual([200, 304])
  await node.parts.caches.removeByTag('bank:ecb')
  rate = { ...rate, perUnit: 0.96 }
  expect(await get()).toMatchObject({ perUnit: 0.96 })
})

test('a provisional rate is kept for a second only, also one that was found unchanged', async () => {
  rate = { ...rate, provisional: true }
  await get()
  await node.parts.caches.of(exchangeRates).expire('EUR/CHF')
  await get()
  expect(statuses).toEqual([200, 304])
  rate = { ...rate, perUnit: 0.96, provisional: false }
  await until('the provisional rate is over', async () => (await get()).perUnit === 0.96)
})
