import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { Redis } from 'ioredis'
import { CacheEvents } from '../../../src/kernel/cache/cache-events.js'
import { RedisTier } from '../../../src/kernel/cache/shared/redis-tier.js'
import { GetUser } from '../../../src/modules/users/queries/get-user.js'
import type { Node } from '../../../src/node.js'
import { createFreshDatabase, type FreshDatabase, redisUrl } from '../../support/fresh-database.js'
import { silentLogger } from '../../support/silent-logger.js'
import { rareChecks, startTestNode } from '../../support/test-node.js'
import { until } from '../../support/until.js'
import { getUser, registerUser, renameUser } from '../../support/users.js'

let database: FreshDatabase
let redis: Redis
let writer: Node
let reader: Node

beforeAll(async () => {
  database = await createFreshDatabase()
  redis = new Redis(redisUrl())
  writer = await startTestNode(database, { env: rareChecks })
  reader = await startTestNode(database, { env: rareChecks })
  for (const { parts } of [writer, reader])
    await until('Redis is connected', () => parts.redis?.status === 'ready')
})
afterAll(async () => {
  await writer.stop()
  await reader.stop()
  const keys = await keysOf('')
  if (keys.length > 0) await redis.del(...keys)
  redis.disconnect()
  await database.drop()
})

function keysOf(suffix: string): Promise<string[]> {
  return redis.keys(`${writer.parts.installation.namespace}:v4:*${suffix}`)
}

/** A user that L2 holds, and the reader has never asked for. */
async function userInL2(name: string): Promise<{ id: string; key: string }> {
  const { id } = await registerUser(writer, name)
  // Its registration may invalidate it once more while it is on its way to this node.
  await writer.parts.check.run()
  await reader.parts.check.run()
  await getUser(writer, id)
  await until('it is in L2', async () => (await keysOf(`:${id}`)).length === 1)
  const [key] = await keysOf(`:${id}`)
  return { id, key: key! }
}

const tier = (node: Node) => node.parts.dependencies.shared as RedisTier
const statistics = () => reader.parts.queryBus.cacheOf(GetUser)!.statistics

describe('what is in Redis', () => {
  test('begins with the installation’s namespace and the epoch’s name, and has an expiration', async () => {
    const { key } = await userInL2('Ada')
    const { installation, applied } = writer.parts
    expect(key.startsWith(`${installation.namespace}:v4:${applied.epoch}:GetUser.`)).toBe(true)
    for (const each of await keysOf('')) {
      const ttl = await redis.pttl(each)
      expect(ttl).toBeGreaterThan(0)
      expect(ttl).toBeLessThanOrEqual(120_000)
    }
  })

  test('is served to a node that has not loaded it', async () => {
    const { id } = await userInL2('Ada')
    const before = { ...statistics() }
    expect((await getUser(reader, id))?.name).toBe('Ada')
    expect(statistics()).toMatchObject({ l2Hits: before.l2Hits + 1, misses: before.misses })
  })
})

describe('what somebody else has written to Redis is a miss, and counted, but never served', () => {
  const flipped = (bytes: Buffer, at: number) => {
    const changed = Buffer.from(bytes)
    changed[at] = (changed[at] ?? 0) ^ 1
    return changed
  }
  test.each<[string, (bytes: Buffer) => Buffer | string | Promise<Buffer>]>([
    ['garbage', () => 'garbage'],
    ['bytes that are no text', () => '\u0000\uffff\ud800'.repeat(30)],
    ['an entry cut off in the middle', (bytes) => bytes.subarray(0, -10)],
    ['an entry cut off in its signature', (bytes) => bytes.subarray(0, 20)],
    ['an entry of an older format', (bytes) => Buffer.concat([Buffer.of(1), bytes.subarray(1)])],
    [
      'another value under the true signature',
      (bytes) => Buffer.from(bytes.toString('latin1').replace('Ada', 'Eve'), 'latin1'),
    ],
    ['another position under the true signature', (bytes) => flipped(bytes, 40)],
    ['another signature', (bytes) => flipped(bytes, 10)],
    ['a signature without an entry', (bytes) => bytes.subarray(0, 35)],
    [
      'another user’s true entry',
      async () => {
        const eve = await userInL2('Eve')
        return (await redis.getBuffer(eve.key))!
      },
    ],
  ])('%s', async (_what, forge) => {
    const { id, key } = await userInL2('Ada')
    await redis.set(key, await forge((await redis.getBuffer(key))!))
    const before = tier(reader).statistics.rejected
    expect((await getUser(reader, id))?.name).toBe('Ada')
    expect(tier(reader).statistics.rejected).toBeGreaterThan(before)
  })

  test('a value of another type, which is taken away', async () => {
    const { id, key } = await userInL2('Ada')
    await redis.del(key)
    await redis.rpush(key, 'a list')
    const before = tier(reader).statistics.rejected
    expect((await getUser(reader, id))?.name).toBe('Ada')
    expect(tier(reader).statistics.rejected).toBeGreaterThan(before)
    await until('the value has its place', async () => (await redis.type(key)) === 'string')
  })

  test('nothing at all is no entry', async () => {
    const { id, key } = await userInL2('Ada')
    await redis.set(key, '')
    const before = tier(reader).statistics.misses
    expect((await getUser(reader, id))?.name).toBe('Ada')
    expect(tier(reader).statistics.misses).toBeGreaterThan(before)
  })

  test('an older snapshot of the true entry', async () => {
    const { id, key } = await userInL2('Ada')
    const snapshot = (await redis.getBuffer(key))!
    await renameUser(writer, id, 'Grace')
    await reader.parts.check.run()
    await redis.set(key, snapshot)
    const before = statistics().fenced
    expect((await getUser(reader, id))?.name).toBe('Grace')
    expect(statistics().fenced).toBeGreaterThan(before)
  })
})

describe('what is far too large, of another type, or refused', () => {
  const mebibytes = 1_048_576

  /** Bytes that have come from Redis while something was done. */
  async function bytesReadBy(node: Node, work: () => Promise<unknown>): Promise<number> {
    const { stream } = node.parts.redis as unknown as { stream: { bytesRead: number } }
    const before = stream.bytesRead
    await work()
    return stream.bytesRead - before
  }

  test('150 MB under the key of an entry do not come over the wire, read alone', async () => {
    const { id, key } = await userInL2('Ada')
    await redis.setrange(key, 150 * mebibytes, 'x')
    const before = { ...tier(reader).statistics }
    // It is looked for twice: before its lock is taken, and after.
    expect(await bytesReadBy(reader, () => getUser(reader, id))).toBeLessThan(3 * mebibytes)
    await until('it was rejected', () => tier(reader).statistics.rejected > before.rejected)
    expect(tier(reader).statistics.failures).toBe(before.failures)
    await until('the value has its place', async () => (await redis.strlen(key)) < mebibytes)
  })

  test('150 MB under the key of an entry, read among others, are cut off once, and not sent again', async () => {
    const readWithOthers = async () => {
      const users = [await userInL2('Ada'), await userInL2('Eve'), await userInL2('Grace')]
      await redis.setrange(users[0]!.key, 150 * mebibytes, 'x')
      return bytesReadBy(reader, () => Promise.all(users.map(({ id }) => getUser(reader, id))))
    }
    expect(await readWithOthers()).toBeLessThan(24 * mebibytes)
    await until('it is found, in a piece', async () => {
      const before = tier(reader).statistics.rejected
      await until('Redis is connected', () => reader.parts.redis?.status === 'ready')
      expect(await readWithOthers()).toBeLessThan(3 * mebibytes)
      return tier(reader).statistics.rejected > before
    })
  })

  test('under one key does not keep this node from reading the others', async () => {
    const bad = await Promise.all(['a', 'b', 'c', 'd'].map((name) => userInL2(name)))
    const good = await userInL2('Ada')
    const states: string[] = []
    const stop = reader.parts.caches.events.on('breaker', ({ state }) => states.push(state))
    for (const { id, key } of bad) {
      await redis.del(key)
      await redis.hset(key, { a: 'hash' })
      await getUser(reader, id)
    }
    const before = { ...statistics() }
    expect((await getUser(reader, good.id))?.name).toBe('Ada')
    stop()
    expect(statistics().l2Hits).toBe(before.l2Hits + 1)
    expect(states).toEqual([])
  })
})

describe('a lock that no node has taken', () => {
  test.each([1, 1_000_000, 999_999_999_999_999])(
    'makes no read wait for its load, though it is said to have begun at %d',
    async (position) => {
      // Longer than this test may take.
      const settings = { name: `locked-${position}`, clusterWaitMs: 600_000 }
      const cache = reader.parts.caches.add<string, string>(settings)
      await reader.parts.check.run()
      await cache.getOrCreate('a', async () => 'loaded')
      await until('its name in Redis is known', async () => (await keysOf(':a')).length > 0)
      const [entry] = (await keysOf(':a')).filter((key) => key.includes(settings.name))
      const lock = entry!.replace(/:v4:(.*):a$/, ':lock-v4-v4:$1:b')
      await redis.set(lock, `${position}:${'f'.repeat(36)}`, 'PX', 600_000)
      expect(await cache.getOrCreate('b', async () => 'loaded')).toBe('loaded')
    },
  )
})

describe('a node that starts while Redis holds old entries', () => {
  test('serves none that was invalidated before it started', async () => {
    const { id, key } = await userInL2('Ada')
    const snapshot = (await redis.getBuffer(key))!
    await renameUser(writer, id, 'Grace')
    await redis.set(key, snapshot)
    const late = await startTestNode(database, { env: rareChecks })
    try {
      await until('Redis is connected', () => late.parts.redis?.status === 'ready')
      expect((await getUser(late, id))?.name).toBe('Grace')
    } finally {
      await late.stop()
    }
  })
})

describe('hints over Redis', () => {
  test('evict on the other node long before a check would', async () => {
    const { id } = await userInL2('Ada')
    await getUser(reader, id)
    await renameUser(writer, id, 'Grace')
    await until('the other node has heard', async () => (await getUser(reader, id))?.name === 'Grace')
  })

  test('that somebody else has published change nothing and are counted', async () => {
    const { subscriber, applied, installation } = reader.parts
    const channel = `${installation.namespace}:hints-v2`
    const before = { rejected: subscriber.statistics.rejected, position: applied.position }
    const forged = JSON.stringify([
      applied.epoch,
      applied.position + 1,
      [[applied.position + 1, 'x', 'users.user-renamed', {}]],
    ])
    const texts = ['', 'garbage', forged, '0'.repeat(64) + forged, '\u{10ffff}'.repeat(2_000_000)]
    for (const text of texts) await redis.publish(channel, text)
    await until('all were received', () => subscriber.statistics.rejected === before.rejected + texts.length)
    expect(applied.position).toBe(before.position)
  })
})

describe('an entry under the true name', () => {
  test('is not read by whoever has another secret', async () => {
    const { key } = await userInL2('Ada')
    const [namespace, , epoch, cache, id] = key.split(':') as [string, string, string, string, string]
    const { secret } = writer.parts.installation
    const ours = new RedisTier(redis, { namespace, secret }, silentLogger, new CacheEvents(silentLogger))
    const theirs = new RedisTier(
      redis,
      { namespace, secret: Buffer.from('guessed') },
      silentLogger,
      new CacheEvents(silentLogger),
    )
    expect(await ours.get({ epoch, cache, key: id })).toMatchObject({ value: { name: 'Ada' } })
    expect(await theirs.get({ epoch, cache, key: id })).toBeUndefined()
    expect(theirs.statistics.rejected).toBe(1)
  })
})
