import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { Redis } from 'ioredis'
import pg from 'pg'
import { Mac } from '../../src/kernel/journal/mac.js'
import type { NodeProcess } from '../../tools/local-stack/index.js'
import { getUser, pause, registerUser, renameUser, request, type User, until, warm } from './client.js'
import { type Cluster, maxStalenessMs, type NodeSettings, startCluster } from './cluster.js'

/** Somebody has Redis, and Redis alone: reads everything there, writes and publishes what they like. */
describe('Redis in hostile hands', () => {
  let cluster: Cluster
  let redis: Redis
  let namespace: string
  let epoch: string
  let user: User

  beforeAll(async () => {
    cluster = await startCluster({}, {})
    redis = new Redis(cluster.redis.url)
    const database = new pg.Client(cluster.databaseUrl)
    await database.connect()
    const { rows } = await database.query(
      'select namespace, aftercommit_kernel.current_epoch() as epoch from aftercommit_kernel.installation',
    )
    await database.end()
    namespace = rows[0].namespace
    epoch = rows[0].epoch
    user = (await registerUser(cluster.nodes[0]!)).body
    for (const node of cluster.nodes) await warm(node, user.id)
  })
  afterAll(async () => {
    redis.disconnect()
    await cluster.stop()
  })

  /** The service still answers, and still hears a write. */
  async function expectUnharmed(name: string): Promise<void> {
    const [first, second] = cluster.nodes
    const { body } = await renameUser(first!, user.id, name)
    await pause(maxStalenessMs)
    for (const node of [first!, second!]) expect((await getUser(node, user.id)).body).toEqual(body)
  }

  const forged = (position: number, body: unknown = {}) =>
    JSON.stringify([epoch, position, [[position, 'x', 'users.user-renamed', body]]])

  test.each([
    ['nothing', () => ''],
    ['text', () => 'DROP TABLE users'],
    ['JSON', () => '{"epoch":"x"}'],
    ['a far position without a signature', () => forged(9e15)],
    ['a far position with an invented signature', () => 'f'.repeat(64) + forged(1_000_000)],
    ['a past position with an invented signature', () => '0'.repeat(64) + forged(1)],
    ['a signature by another secret', () => sign(forged(5), 'guess') + forged(5)],
    ['half a signature', () => 'abcdef'],
    ['one MiB of letters', () => 'x'.repeat(1_048_576)],
    ['seven MiB of letters', () => 'x'.repeat(7 * 1_048_576)],
    ['control characters', () => '\u0000\u0001\uffff'],
  ])('a hint that is %s is counted, dropped, and changes nothing', async (what, message) => {
    const before = cluster.nodes.map(rejectedHints)
    await redis.publish(`${namespace}:hints-v2`, message())
    await until('both nodes have rejected it', () =>
      cluster.nodes.every((node, index) => rejectedHints(node) > before[index]!),
    )
    await expectUnharmed(`after ${what}`)
  })

  test('real hints played again, in reverse, change nothing', async () => {
    const heard: string[] = []
    const listener = new Redis(cluster.redis.url)
    await listener.subscribe(`${namespace}:hints-v2`)
    listener.on('message', (_channel, text) => heard.push(text))
    for (const name of ['a', 'b', 'c']) await renameUser(cluster.nodes[0]!, user.id, name)
    await until('three hints were heard', () => heard.length >= 3)
    listener.disconnect()
    for (const text of [...heard].reverse()) await redis.publish(`${namespace}:hints-v2`, text)
    // One word of a real hint changed, its signature kept.
    await redis.publish(
      `${namespace}:hints-v2`,
      heard[0]!.replace('users.user-renamed', 'users.user-deleted'),
    )
    await expectUnharmed('after the replay')
  })

  test.each([
    ['garbage', () => 'garbage'],
    [
      'an invented user with a far position',
      (old: string) => old.slice(0, 79) + JSON.stringify({ ...user, name: 'Mallory' }),
    ],
    ['its own old value, one byte changed', (old: string) => old.replace('"name":"', '"name":"X')],
    ['half of it', (old: string) => old.slice(0, old.length / 2)],
  ])('every L2 value replaced by %s: none of it is served', async (_what, replacement) => {
    for (const node of cluster.nodes.slice(0, 2)) await warm(node, user.id)
    const keys = await redis.keys(`${namespace}:v4:*:GetUser.*`)
    expect(keys.length).toBeGreaterThan(0)
    for (const key of keys) {
      const old = (await redis.getBuffer(key)) ?? Buffer.of()
      await redis.set(key, Buffer.from(replacement(old.toString('latin1')), 'latin1'))
    }
    const expected = (await getUser(cluster.nodes[0]!, user.id)).body
    // Has nothing in L1: only L2 could mislead it.
    const newcomer = await newcomerWithRedis()
    expect((await getUser(newcomer, user.id)).body).toEqual(expected)
    await until('it has said so', () => newcomer.output().includes('an L2 entry was rejected'))
    await newcomer.stop()
  })

  test('one user’s signed value under another user’s key is not served', async () => {
    const other = (await registerUser(cluster.nodes[0]!, 'Somebody else')).body
    await warm(cluster.nodes[0]!, other.id)
    await warm(cluster.nodes[0]!, user.id)
    let swapped = 0
    await until('both values are in L2', async () => {
      const [own] = await redis.keys(`${namespace}:v4:*:GetUser.*:${user.id}`)
      const [others] = await redis.keys(`${namespace}:v4:*:GetUser.*:${other.id}`)
      if (!own || !others) return false
      await redis.set(others, (await redis.getBuffer(own)) ?? '')
      return ++swapped > 0
    })
    const newcomer = await newcomerWithRedis()
    expect((await getUser(newcomer, other.id)).body).toEqual(other)
    await until('it has said so', () => newcomer.output().includes('an L2 entry was rejected'))
    await newcomer.stop()
  })

  test('scripts that are forgotten, and a Redis that is full, cost loads and nothing else', async () => {
    await redis.script('FLUSH')
    await expectUnharmed('without scripts')
    await redis.config('SET', 'maxmemory', '1')
    try {
      const created = await Promise.all([1, 2, 3, 4, 5].map(() => registerUser(cluster.nodes[0]!)))
      for (const { body } of created) {
        for (const node of cluster.nodes.slice(0, 2)) await warm(node, body.id)
        expect((await getUser(cluster.nodes[1]!, body.id)).body).toEqual(body)
      }
      await until('a node has said so', () => cluster.nodes[0]!.output().includes('Redis refused a command'))
      expect(cluster.nodes[0]!.output()).not.toContain('Redis does not answer')
    } finally {
      await redis.config('SET', 'maxmemory', '0')
    }
    await expectUnharmed('after the shortage')
  })

  test('an unknown command value of another type under an L2 key is a miss', async () => {
    const [key] = await redis.keys(`${namespace}:v4:*:GetUser.*:${user.id}`)
    if (key) {
      await redis.del(key)
      await redis.rpush(key, 'a list')
    }
    await expectUnharmed('after the list')
  })

  test('a Redis user with no more rights than the documentation gives it is enough', async () => {
    const text = await readFile(fileURLToPath(new URL('../../docs/consistency.md', import.meta.url)), 'utf8')
    const [, rules = ''] = /^ACL SETUSER service (.*)$/m.exec(text) ?? []
    const given = rules.replaceAll('NAMESPACE', namespace).replace('PASSWORD', 'password').split(' ')
    await redis.call('ACL', 'SETUSER', 'service', ...given)
    await redis.call('ACL', 'LOG', 'RESET')
    const url = new URL(cluster.redis.url)
    url.username = 'service'
    url.password = 'password'
    const newcomer = await newcomerWithRedis({ redisUrl: url.href })
    // Reads, locks, loads and writes; hears, and is heard.
    const other = (await registerUser(newcomer)).body
    for (const id of [user.id, other.id]) await warm(newcomer, id)
    const [first] = cluster.nodes
    await renameUser(first!, user.id, 'of a restricted node')
    await until(
      'it has heard',
      async () => (await getUser(newcomer, user.id)).body.name === 'of a restricted node',
    )
    await newcomer.stop()
    const refused = (await redis.call('ACL', 'LOG')) as string[][]
    // The client tells its name and version to newer servers, and does without if it may not.
    expect(refused.filter((entry) => !entry.includes('client|setinfo'))).toEqual([])
  })

  async function newcomerWithRedis(settings: NodeSettings = {}): Promise<NodeProcess> {
    const newcomer = await cluster.add(settings)
    await until('it has Redis', async () => {
      const ready = await request<{ checks: { redis: { status: string } } }>(newcomer, 'GET', '/health/ready')
      return ready.body.checks.redis.status === 'up'
    })
    return newcomer
  }

  function rejectedHints(node: NodeProcess): number {
    return node.output().split('a hint was rejected').length - 1
  }

  function sign(body: string, secret: string): string {
    const write = (input: Buffer, start: number) => start + input.write(body, start)
    return new Mac({ secret: Buffer.from(secret) })
      .of(`${namespace}:hints-v2`, body.length, write, 'hex')
      .slice(0, 64)
  }
})
