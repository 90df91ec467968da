import { connect, type Socket } from 'node:net'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { Redis } from 'ioredis'
import { HintCodec } from '../../../src/kernel/journal/hint.js'
import type { Node } from '../../../src/node.js'
import { createFreshDatabase, type FreshDatabase, redisUrl } from '../../support/fresh-database.js'
import { rareChecks, startTestNode } from '../../support/test-node.js'
import { until } from '../../support/until.js'
import { getUser, registerUser, renameUser } from '../../support/users.js'

let database: FreshDatabase
let redis: Redis
let writer: Node
let reader: Node
/** Shares all with them but the setting. */
let plain: Node

beforeAll(async () => {
  database = await createFreshDatabase()
  redis = new Redis(redisUrl())
  const env = { ...rareChecks, REDIS_ENCRYPTION: 'true' }
  writer = await startTestNode(database, { env })
  reader = await startTestNode(database, { env })
  plain = await startTestNode(database, { env: rareChecks })
  for (const { parts } of [writer, reader, plain])
    await until('Redis is connected', () => parts.redis?.status === 'ready')
})
afterAll(async () => {
  for (const node of [writer, reader, plain]) await node.stop()
  const keys = await redis.keys(`${namespace()}:*`)
  if (keys.length > 0) await redis.del(...keys)
  redis.disconnect()
  await database.drop()
})

const namespace = () => writer.parts.installation.namespace
const rejectedBy = ({ parts }: Node) =>
  (parts.dependencies.shared as unknown as { statistics: { rejected: number } }).statistics.rejected
const entriesOf = (id: string) => redis.keys(`${namespace()}:v4*:${id}`)

async function inStep(): Promise<void> {
  for (const { parts } of [writer, reader, plain]) await parts.check.run()
}

/** The monitor of ioredis fails if other clients are busy while it starts. */
async function monitor(): Promise<{ sent: () => string[]; listener: Socket }> {
  const { hostname, port } = new URL(redisUrl())
  const listener = connect(Number(port), hostname).setEncoding('latin1')
  let heard = ''
  listener.on('data', (text: string) => {
    heard += text
  })
  listener.write('MONITOR\r\n')
  await until('the monitor has started', () => heard.startsWith('+OK'))
  return { sent: () => heard.split('\r\n'), listener }
}

describe('with REDIS_ENCRYPTION', () => {
  test('nothing of a value, a tag or an event is sent to Redis, or kept there, that could be read', async () => {
    const secretName = 'Augusta Ada King'
    const tag = 'countess-of-lovelace'
    const { sent, listener } = await monitor()
    const heard: string[] = []
    const subscriber = new Redis(redisUrl())
    await subscriber.psubscribe(`${namespace()}:*`)
    subscriber.on('pmessage', (_pattern, _channel, text) => heard.push(text))
    try {
      const { id } = await registerUser(writer, 'Ada')
      await renameUser(writer, id, secretName)
      await inStep()
      expect((await getUser(writer, id))?.name).toBe(secretName)
      const cache = writer.parts.caches.add<string, string>({ name: 'tagged' })
      await cache.getOrCreate('a', async () => secretName, { tags: [tag] })
      await until('both are in Redis', async () =>
        (await Promise.all([entriesOf(id), entriesOf('a')])).every((keys) => keys.length > 0),
      )
      await until('hints were heard', () => heard.length >= 2)
      // What was sent before this has been seen once this has.
      const marker = `end-${process.pid}`
      await redis.echo(marker)
      await until('all of it was seen', () => sent().some((line) => line.includes(marker)))
      const kept = await Promise.all(
        (await redis.keys(`${namespace()}:*`)).map((key) => redis.dumpBuffer(key)),
      )
      const own = sent().filter((line) => line.includes(namespace()))
      expect(own.length).toBeGreaterThan(3)
      for (const word of [secretName, 'Augusta', tag, 'user-renamed', 'permissions']) {
        expect(own.filter((line) => line.includes(word))).toEqual([])
        expect(
          heard.filter((text) => Buffer.from(text, 'base64').includes(word) || text.includes(word)),
        ).toEqual([])
        expect(kept.filter((bytes) => bytes.includes(word))).toEqual([])
      }
    } finally {
      listener.destroy()
      subscriber.disconnect()
    }
  })

  test('nodes share entries and hear each other’s hints', async () => {
    const { id } = await registerUser(writer, 'Ada')
    await inStep()
    await getUser(writer, id)
    await until('it is in L2', async () => (await entriesOf(id)).length > 0)
    const { statistics } = reader.parts.dependencies.shared as unknown as { statistics: { hits: number } }
    const before = statistics.hits
    expect((await getUser(reader, id))?.name).toBe('Ada')
    expect(statistics.hits).toBe(before + 1)
    await renameUser(writer, id, 'Grace')
    await until('the other node has heard', async () => (await getUser(reader, id))?.name === 'Grace')
  })

  test('a node leaves those without it alone, and they leave it alone', async () => {
    const { id } = await registerUser(writer, 'Ada')
    await inStep()
    const before = [writer, reader, plain].map(rejectedBy)
    const hints = [reader, plain].map(({ parts }) => parts.subscriber.statistics.rejected)
    for (const node of [writer, plain]) expect((await getUser(node, id))?.name).toBe('Ada')
    await until('each has an entry of its own', async () => (await entriesOf(id)).length === 2)
    await renameUser(plain, id, 'Grace')
    await inStep()
    for (const node of [writer, reader, plain]) expect((await getUser(node, id))?.name).toBe('Grace')
    expect([writer, reader, plain].map(rejectedBy)).toEqual(before)
    expect([reader, plain].map(({ parts }) => parts.subscriber.statistics.rejected)).toEqual(hints)
  })

  test('a node reads no entry and hears no hint that is not encrypted, though truly signed', async () => {
    const { id } = await registerUser(writer, 'Ada')
    await inStep()
    for (const node of [writer, plain]) await getUser(node, id)
    await until('each has an entry of its own', async () => (await entriesOf(id)).length === 2)
    const [encrypted, signed] = (await entriesOf(id)).sort((a, b) => b.length - a.length) as [string, string]
    await redis.set(encrypted, (await redis.getBuffer(signed))!)
    const before = rejectedBy(reader)
    expect((await getUser(reader, id))?.name).toBe('Ada')
    expect(rejectedBy(reader)).toBeGreaterThan(before)

    const { subscriber, applied, installation } = reader.parts
    const { rejected } = subscriber.statistics
    const message = {
      position: applied.position + 1,
      numberingId: 'x',
      type: 'users.user-deleted',
      payload: {},
    }
    const [hint] = new HintCodec(installation).encode({
      epoch: applied.epoch,
      head: applied.position + 1,
      messages: [message],
    })
    await redis.publish(new HintCodec(installation, { encrypted: true }).channel, hint!.text)
    await until('it was rejected', () => subscriber.statistics.rejected > rejected)
  })
})
