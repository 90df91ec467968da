import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { CacheEvents } from '../../../src/kernel/cache/cache-events.js'
import { RedisTier } from '../../../src/kernel/cache/shared/redis-tier.js'
import type { SharedEntry, SharedKey } from '../../../src/kernel/cache/shared/shared-tier.js'
import type { Node } from '../../../src/node.js'
import { createFreshDatabase, type FreshDatabase } from '../../support/fresh-database.js'
import { silentLogger } from '../../support/silent-logger.js'
import { startTestNode } from '../../support/test-node.js'
import { until } from '../../support/until.js'

let database: FreshDatabase
let node: Node
let tier: RedisTier

beforeAll(async () => {
  database = await createFreshDatabase()
  node = await startTestNode(database, { env: { REDIS_TIMEOUT_MS: '10000' } })
  const { redis, installation } = node.parts
  await until('Redis is connected', () => redis?.status === 'ready')
  tier = new RedisTier(redis!, installation, silentLogger, new CacheEvents(silentLogger))
})
afterAll(async () => {
  await node.stop()
  await database.drop()
})

const keyOf = (key: string): SharedKey => ({ epoch: 'e', cache: 'bulk', key })
const keysFrom = (prefix: string, count: number) =>
  Array.from({ length: count }, (_, index) => keyOf(`${prefix}-${index}`))

function entryOf(value: unknown): SharedEntry {
  const life = { loadedAt: 0, freshUntil: 1, usableUntil: 1, l1TtlMs: 1 }
  return { value, position: 1, names: [], ...life }
}

const minute = 60_000

/** Commands that the node sends to Redis during `work`, and how many keys each of them names. */
async function commandsDuring(name: string, work: () => Promise<unknown>): Promise<number[]> {
  const redis = node.parts.redis!
  const sizes: number[] = []
  const send = redis.sendCommand
  redis.sendCommand = function (command, ...rest) {
    if (command.name === name) sizes.push(command.args.filter((one) => String(one).includes(':bulk:')).length)
    return send.call(this, command, ...rest)
  }
  try {
    await work()
  } finally {
    redis.sendCommand = send
  }
  return sizes
}

test('two hundred thousand keys are read, and forgotten, by commands of 500 keys each', async () => {
  const keys = keysFrom('many', 200_000)
  const last = keys.at(-1)!
  tier.set(last, entryOf('the last'), minute)
  await until('it is there', async () => (await tier.get(last)) !== undefined)
  const reads = await commandsDuring('evalsha', async () => {
    const found = await tier.getMany(keys)
    expect(found).toHaveLength(keys.length)
    expect(found.at(-1)?.value).toBe('the last')
    expect(found[0]).toBeUndefined()
  })
  expect(reads).toEqual(Array(400).fill(500))
  const removals = await commandsDuring('unlink', async () => {
    tier.forget(keys)
    await until('it is gone', async () => (await tier.get(last)) === undefined)
  })
  expect(removals).toEqual(Array(400).fill(500))
})

test('many and large values are written in several pipelines, and all of them arrive', async () => {
  const values = Array.from({ length: 1_203 }, (_, index) => 'x'.repeat(index < 3 ? 700_000 : index))
  const keys = keysFrom('written', values.length)
  tier.setMany(keys.map((key, index) => ({ key, entry: entryOf(values[index]), ttlMs: minute })))
  await until('the last is there', async () => (await tier.get(keys.at(-1)!)) !== undefined)
  const found = await tier.getMany(keys)
  expect(found.map((entry) => entry?.value)).toEqual(values)
})

test('values that are large together come in several replies of bounded size', async () => {
  const values = Array.from({ length: 40 }, (_, index) => `${index}`.repeat(500_000))
  const keys = keysFrom('large', values.length)
  tier.setMany(keys.map((key, index) => ({ key, entry: entryOf(values[index]), ttlMs: minute })))
  await until('the last is there', async () => (await tier.get(keys.at(-1)!)) !== undefined)
  const reads = await commandsDuring('evalsha', async () => {
    expect((await tier.getMany(keys)).map((entry) => entry?.value)).toEqual(values)
  })
  expect(reads.length).toBeGreaterThanOrEqual(4)
  const together = await Promise.all(keys.map((key) => tier.get(key)))
  expect(together.map((entry) => entry?.value)).toEqual(values)
})

test('a command that Redis refuses, again and again, keeps nobody else from L2', async () => {
  const key = keyOf('kept')
  tier.set(key, entryOf('value'), Number.POSITIVE_INFINITY)
  await until('it is there', async () => (await tier.get(key)) !== undefined)
  for (let attempt = 0; attempt < 10; attempt++) {
    expect(await tier.lock(keyOf('locked'), 0, 0, Number.NaN)).toMatchObject({ held: true })
  }
  expect((await tier.get(key))?.value).toBe('value')
})
