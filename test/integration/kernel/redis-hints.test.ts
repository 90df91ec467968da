import { afterEach, describe, expect, test } from '@jest/globals'
import type { Redis } from 'ioredis'
import { systemClock } from '../../../src/kernel/clock.js'
import { type Hint, HintCodec } from '../../../src/kernel/journal/hint.js'
import { createRedis } from '../../../src/kernel/journal/redis-connection.js'
import { RedisHints } from '../../../src/kernel/journal/redis-hints.js'
import { redisUrl } from '../../support/fresh-database.js'
import { silentLogger } from '../../support/silent-logger.js'
import { until } from '../../support/until.js'

const installation = { namespace: `hints-${process.pid}`, secret: Buffer.from('of this test') }
const epoch = '00000000000000e1'

class CountingCodec extends HintCodec {
  decoded = 0

  override decode(text: string): Hint | undefined {
    this.decoded++
    return super.decode(text)
  }
}

const stops: (() => Promise<void>)[] = []
afterEach(async () => {
  for (const stop of stops.splice(0)) await stop()
})

/** One node's side of the channel, and what it has heard. */
async function listening() {
  const redis: Redis = createRedis(redisUrl(), 2_000, 'hints of a test')
  await redis.connect()
  const codec = new CountingCodec(installation)
  const hints = new RedisHints(redis, codec, systemClock, silentLogger)
  const heard: number[] = []
  let connected = 0
  await hints.start({
    hint: ({ messages }) => heard.push(...messages.map(({ position }) => position)),
    rejected: (reason) => {
      throw new Error(reason)
    },
    lost: () => {},
    reconnected: () => connected++,
  })
  await until('it listens', () => connected > 0)
  stops.push(async () => {
    await hints.stop()
    redis.disconnect()
  })
  return { hints, codec, heard }
}

function batch(from: number, count: number): Hint {
  const messages = Array.from({ length: count }, (_, index) => ({
    position: from + index,
    numberingId: `call-${from}`,
    type: 'users.user-renamed',
    payload: { userId: 'u', name: `${from + index}` },
  }))
  return { epoch, head: from + count - 1, messages }
}

function positions(from: number, to: number): number[] {
  return Array.from({ length: to - from + 1 }, (_, index) => from + index)
}

describe('hints over Redis', () => {
  test('of a large batch reach every node whole and in order', async () => {
    const [one, other] = [await listening(), await listening()]
    one.hints.publish(batch(1, 2_000))
    for (const { heard } of [one, other]) {
      await until('all were heard', () => heard.length === 2_000)
      expect(heard).toEqual(positions(1, 2_000))
    }
  })

  test('cost whoever has published them no second reading, also where others publish in between', async () => {
    const [one, other] = [await listening(), await listening()]
    one.hints.publish(batch(1, 1_000))
    other.hints.publish(batch(1_001, 1))
    one.hints.publish(batch(1_002, 1))
    for (const { heard } of [one, other]) {
      await until('all were heard', () => heard.length === 1_002)
      expect(heard.toSorted((a, b) => a - b)).toEqual(positions(1, 1_002))
    }
    expect(one.codec.decoded).toBe(1)
    expect(other.codec.decoded).toBe(5)
  })
})
