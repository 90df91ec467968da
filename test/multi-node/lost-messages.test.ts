import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { Redis } from 'ioredis'
import pg from 'pg'
import type { NodeProcess } from '../../tools/local-stack/index.js'
import { getUser, pause, registerUser, renameUser, request, until, warm } from './client.js'
import { type Cluster, maxStalenessMs, startCluster } from './cluster.js'
import { StalenessJudge } from './staleness-judge.js'
import { startProxy, type TcpProxy } from './tcp-proxy.js'

describe('an invalidation is never lost', () => {
  let cluster: Cluster

  beforeAll(async () => {
    cluster = await startCluster({}, {}, {})
  })
  afterAll(() => cluster.stop())

  test('a write on one node is read on the others', async () => {
    const [first, ...others] = cluster.nodes
    const { id } = (await registerUser(first!)).body
    for (const node of cluster.nodes) await warm(node, id)
    await renameUser(first!, id, 'Grace')
    for (const node of others) {
      await until(`${node.name} reads Grace`, async () => (await getUser(node, id)).body.name === 'Grace')
    }
  })

  test.each(['after-commit', 'after-numbering'])(
    'a node killed %s leaves no other node with the old value beyond the bound',
    async (point) => {
      const [first] = cluster.nodes
      const { id } = (await registerUser(first!)).body
      for (const node of cluster.nodes.slice(0, 3)) await warm(node, id)
      // Only now: a check of it that finds something without a position numbers that, and the fault would strike there.
      const writer = await cluster.add({ env: { FAULTS: `${point}:kill` } })
      await expect(renameUser(writer, id, 'Killed')).rejects.toThrow('fetch failed')
      expect((await writer.exited).signal).toBe('SIGKILL')
      const database = new pg.Client(cluster.databaseUrl)
      await database.connect()
      const { rows } = await database.query('select name from user_account where id = $1', [id])
      await database.end()
      expect(rows).toEqual([{ name: 'Killed' }])
      await pause(maxStalenessMs)
      for (const node of cluster.nodes.slice(0, 3)) expect((await getUser(node, id)).body.name).toBe('Killed')
    },
  )

  test('a node that was paused for longer than its lease answers with the new value when it is resumed', async () => {
    const [first, paused] = cluster.nodes
    const { id } = (await registerUser(first!)).body
    for (const node of cluster.nodes.slice(0, 3)) await warm(node, id)
    paused!.kill('SIGSTOP')
    try {
      // What is published to it meanwhile must not wait for it in a socket, or it would only be late.
      await killSubscribers(cluster.redis.url)
      await renameUser(first!, id, 'while it was paused')
      await pause(maxStalenessMs + 500)
      // Sent while it is paused, and so among the first that it answers.
      const waiting = Promise.all(Array.from({ length: 10 }, () => getUser(paused!, id)))
      await pause(100)
      paused!.kill('SIGCONT')
      for (const { body } of await waiting) expect(body.name).toBe('while it was paused')
    } finally {
      paused!.kill('SIGCONT')
    }
  })

  test('with every subscriber cut off again and again, nobody keeps an old value beyond the bound', async () => {
    const newcomer = await cluster.add({})
    const readers = [...cluster.nodes.slice(0, 3), newcomer]
    const [first] = cluster.nodes
    const users = await Promise.all(Array.from({ length: 20 }, () => registerUser(first!)))
    const ids = users.map((user) => user.body.id)
    // The newcomer has heard of nothing yet, so no gap in what it hears can tell it that it missed something.
    for (const id of ids) for (const node of readers) await warm(node, id)
    const killer = new Redis(cluster.redis.url)
    let killing = true
    let killed = 0
    const kills = (async () => {
      while (killing) {
        killed += Number(await killer.call('CLIENT', 'KILL', 'TYPE', 'pubsub'))
        await pause(20)
      }
    })()
    for (let round = 0; round < 10; round++) {
      for (const [index, id] of ids.entries())
        await renameUser(cluster.nodes[index % 3]!, id, `round ${round}`)
    }
    await pause(maxStalenessMs)
    killing = false
    await kills
    killer.disconnect()
    expect(killed).toBeGreaterThan(20)
    for (const id of ids) {
      for (const node of readers) expect((await getUser(node, id)).body.name).toBe('round 9')
    }
  })
})

describe('without any Redis', () => {
  let cluster: Cluster

  beforeAll(async () => {
    // Checks so rare that only NOTIFY can have brought the news in time.
    const env = { MAX_STALENESS_MS: '60000', CHECK_INTERVAL_MS: '20000' }
    cluster = await startCluster({ redisUrl: null, env }, { redisUrl: null, env })
  })
  afterAll(() => cluster.stop())

  test('a write on one node reaches the other by NOTIFY', async () => {
    const [first, second] = cluster.nodes
    const { id } = (await registerUser(first!)).body
    for (const node of cluster.nodes) await warm(node, id)
    for (let write = 0; write < 20; write++) {
      await renameUser(first!, id, `write ${write}`)
      await until(
        'the other reads it',
        async () => (await getUser(second!, id)).body.name === `write ${write}`,
      )
    }
    expect(await redisOf(second!)).toBe('off')
  })
})

describe('a node whose own connection to Redis is cut', () => {
  let cluster: Cluster
  let proxy: TcpProxy

  beforeAll(async () => {
    cluster = await startCluster({}, {})
    proxy = await startProxy(cluster.redis.url)
    await cluster.add({ redisUrl: proxy.url })
  })
  afterAll(async () => {
    await cluster.stop()
    await proxy.close()
  })

  test('writes as fast as before, reaches the others within the bound, and hears them', async () => {
    const [first, second, cutOff] = cluster.nodes
    const { id } = (await registerUser(first!)).body
    await until('the node has Redis', async () => (await redisOf(cutOff!)) === 'up')
    const usual = await medianWrite(20)
    for (const node of cluster.nodes) await warm(node, id)
    proxy.cut()
    const cut = await medianWrite(20)
    // Not a speed, but that nothing waits: Redis would be waited for at least REDIS_TIMEOUT_MS, 250.
    expect(cut - usual).toBeLessThan(50)
    await renameUser(cutOff!, id, 'from the cut-off node')
    await pause(maxStalenessMs)
    for (const node of [first!, second!])
      expect((await getUser(node, id)).body.name).toBe('from the cut-off node')
    await renameUser(first!, id, 'to the cut-off node')
    await pause(maxStalenessMs)
    expect((await getUser(cutOff!, id)).body.name).toBe('to the cut-off node')
    proxy.restore()
    await until('Redis is up again on the node', async () => {
      const { body } = await request<{ checks: { redis: { status: string } } }>(
        cutOff!,
        'GET',
        '/health/ready',
      )
      return body.checks.redis.status === 'up'
    })

    async function medianWrite(count: number): Promise<number> {
      const times: number[] = []
      for (let write = 0; write < count; write++) {
        const { sentAt, arrivedAt } = await renameUser(cutOff!, id, `write ${write} ${Math.random()}`)
        times.push(arrivedAt - sentAt)
      }
      return times.sort((a, b) => a - b)[count / 2]!
    }
  })
})

describe('Redis forgets, vanishes, or travels back in time', () => {
  let cluster: Cluster

  beforeAll(async () => {
    cluster = await startCluster({}, {}, {})
  })
  afterAll(() => cluster.stop())

  /** Reads and writes on all nodes while `trouble` happens; then everybody must converge without a restart. */
  async function underLoad(trouble: () => Promise<void>): Promise<StalenessJudge> {
    const { nodes } = cluster
    const { id } = (await registerUser(nodes[0]!)).body
    for (const node of nodes) await warm(node, id)
    const judge = new StalenessJudge()
    let running = true
    const readers = nodes.map(async (node) => {
      while (running) {
        judge.read(node.name, await getUser(node, id))
        await pause(2)
      }
    })
    const writer = (async () => {
      for (let write = 0; running; write++) {
        judge.wrote(await renameUser(nodes[write % nodes.length]!, id, `write ${write}`))
        await pause(10)
      }
    })()
    await pause(300)
    await trouble()
    await pause(500)
    running = false
    await Promise.all([writer, ...readers])
    const last = await renameUser(nodes[0]!, id, 'last')
    await pause(maxStalenessMs)
    for (const node of nodes) expect((await getUser(node, id)).body).toEqual(last.body)
    return judge
  }

  test('restarted empty under load: no error, nothing older than the bound, full convergence', async () => {
    const judge = await underLoad(async () => {
      await cluster.redis.kill()
      await pause(300)
      await cluster.redis.start()
      await pause(maxStalenessMs)
    })
    expect(judge.violations).toEqual([])
    expect(judge.reads).toBeGreaterThan(100)
  })

  test('hung under load: no error, nothing older than the bound, full convergence', async () => {
    const judge = await underLoad(async () => {
      cluster.redis.pause()
      await pause(2 * maxStalenessMs)
      cluster.redis.resume()
      await pause(500)
    })
    expect(judge.violations).toEqual([])
  })

  test('away for 10 s with its data kept: the first reads afterwards are not its old values', async () => {
    const { nodes, redis } = cluster
    const { id } = (await registerUser(nodes[0]!)).body
    for (const node of nodes) await warm(node, id)
    await saveTo(redis.url)
    await redis.kill()
    const { body } = await renameUser(nodes[0]!, id, 'while Redis was away')
    await pause(10_000)
    await redis.start({ rdbFile: redis.dumpFile })
    await until('Redis has the old value', async () => (await countOf(redis.url, id)) > 0)
    for (const node of nodes) expect((await getUser(node, id)).body).toEqual(body)
    await until('every node has Redis back', async () =>
      (await redisStates()).every((state) => state === 'up'),
    )
    const newcomer = await cluster.add({})
    for (const node of [...nodes, newcomer]) expect((await getUser(node, id)).body).toEqual(body)
  })

  test('set back to an older snapshot: what it remembers is not served, by old nodes or new', async () => {
    const { nodes, redis } = cluster
    const { id } = (await registerUser(nodes[0]!)).body
    for (const node of nodes) await warm(node, id)
    await saveTo(redis.url)
    for (const name of ['one', 'two', 'three']) {
      await renameUser(nodes[0]!, id, name)
      for (const node of nodes) await warm(node, id)
    }
    await redis.kill()
    await redis.start({ rdbFile: redis.dumpFile })
    await until('every node has Redis back', async () =>
      (await redisStates()).every((state) => state === 'up'),
    )
    await pause(maxStalenessMs)
    const newcomer = await cluster.add({})
    for (const node of [...nodes, newcomer]) expect((await getUser(node, id)).body.name).toBe('three')
  })

  async function redisStates(): Promise<string[]> {
    return Promise.all(cluster.nodes.map(redisOf))
  }
})

async function redisOf(node: NodeProcess): Promise<string> {
  const { body } = await request<{ checks: { redis: { status: string } } }>(node, 'GET', '/health/ready')
  return body.checks.redis.status
}

async function killSubscribers(url: string): Promise<void> {
  const client = new Redis(url)
  await client.call('CLIENT', 'KILL', 'TYPE', 'pubsub')
  client.disconnect()
}

async function saveTo(url: string): Promise<void> {
  const client = new Redis(url)
  await client.save()
  client.disconnect()
}

async function countOf(url: string, id: string): Promise<number> {
  const client = new Redis(url)
  const keys = await client.keys(`*${id}`)
  client.disconnect()
  return keys.length
}
