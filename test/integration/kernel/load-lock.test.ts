import { randomBytes, randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { Redis } from 'ioredis'
import { LoadLocks } from '../../../src/kernel/cache/shared/load-lock.js'
import { redisUrl } from '../../support/fresh-database.js'

const secret = randomBytes(32)
const ttlMs = 60_000
const clock = { ms: 1_000_000, now: () => clock.ms }

let redis: Redis
beforeAll(() => {
  redis = new Redis(redisUrl())
})
afterAll(() => redis.disconnect())

/** One node's side of the locks, and a lock that nobody holds. */
function locksAndName(): { locks: LoadLocks; name: string } {
  return { locks: new LoadLocks(redis, { secret }, clock), name: `lock-${randomUUID()}` }
}

const take = (locks: LoadLocks, name: string, position = 5, required = 5) =>
  locks.take(name, position, required, ttlMs)

describe('the lock of a load', () => {
  test('is held by one, freed by its holder alone, and says that there was a load', async () => {
    const { locks, name } = locksAndName()
    const first = await take(locks, name)
    expect(first).toMatchObject({ held: true, loadedMeanwhile: false })
    expect(await take(new LoadLocks(redis, { secret }, clock), name)).toEqual({ held: false })
    if (first.held) first.release(true)
    const second = await take(locks, name)
    expect(second).toMatchObject({ held: true, loadedMeanwhile: true })
    // It no longer holds it.
    if (first.held) first.release(false)
    expect(await take(locks, name)).toEqual({ held: false })
    if (second.held) second.release(false)
    expect(await take(locks, name)).toMatchObject({ held: true, loadedMeanwhile: false })
  })

  test('passes to whoever needs a later load', async () => {
    const { locks, name } = locksAndName()
    await take(locks, name, 5, 5)
    expect(await take(locks, name, 6, 6)).toMatchObject({ held: true, loadedMeanwhile: false })
  })

  test.each<[string, (name: string) => Promise<unknown>]>([
    ['with a far position', (name) => redis.set(name, `999999999999999:${randomUUID()}`)],
    ['with the present position', (name) => redis.set(name, `5:${randomUUID()}`)],
    [
      'in the form of a lock, with an invented signature',
      (name) => redis.set(name, `5:9999999999999.${'a'.repeat(16)}.${'b'.repeat(32)}`),
    ],
    ['with a position of a thousand digits', (name) => redis.set(name, `${'9'.repeat(1_000)}:token`)],
    [
      'with a token of 20 MB',
      (name) => redis.setrange(name, 20_000_000, 'x').then(() => redis.setrange(name, 0, '5:')),
    ],
    ['that is no text', (name) => redis.set(name, Buffer.from([0x35, 0x3a, 0xff, 0xfe, 0x00]))],
    ['that is a list', (name) => redis.rpush(name, '5:token')],
    ['that is a hash', (name) => redis.hset(name, { a: '5:token' })],
    [
      'that was another key’s',
      async (name) => {
        const other = locksAndName()
        await take(other.locks, other.name)
        await redis.set(name, (await redis.getBuffer(other.name))!)
      },
    ],
    [
      'that was signed by another installation',
      (name) => take(new LoadLocks(redis, { secret: randomBytes(32) }, clock), name),
    ],
  ])('is not held by one %s', async (_, forge) => {
    const { locks, name } = locksAndName()
    await forge(name)
    const lock = await take(locks, name)
    expect(lock.held).toBe(true)
    // And is a lock again.
    expect(await take(locks, name)).toEqual({ held: false })
    if (lock.held) lock.release(true)
    expect(await take(locks, name)).toMatchObject({ held: true, loadedMeanwhile: true })
  })

  test('is not held beyond its time by one that Redis was made to keep', async () => {
    const { locks, name } = locksAndName()
    await take(locks, name)
    await redis.persist(name)
    expect(await take(locks, name)).toEqual({ held: false })
    clock.ms += ttlMs + 1
    expect(await take(locks, name)).toMatchObject({ held: true })
  })
})
