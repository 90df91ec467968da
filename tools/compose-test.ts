/** Starts docker-compose.yml as a separate project, causes faults, checks what clients see, and removes everything. */
import assert from 'node:assert/strict'
import {
  cacheStatusOf,
  describe,
  readUser,
  registerUser,
  send,
  servedBy,
  writtenValue,
} from './compose/client.js'
import {
  answerTimes,
  cachedInMemory,
  type HealthReport,
  isReady,
  patienceMs,
  seenOn,
  write,
} from './compose/observations.js'
import { note, Runner, until } from './compose/runner.js'
import { type NodeName, nodeNames, Stack, serviceNames } from './compose/stack.js'
import { during, maxStalenessMs, Reader, Writer } from './compose/traffic.js'

/** How much slower, in ms, a node may answer without Redis. */
const slowdownMs = 50

/** How long, in ms, the refusal of a read may take: 1 s for a check, 2 s to connect, and 1 s for a slow machine. */
const slowestRefusalMs = 4_000

/** The same for a read that was under way at the cut: DATABASE_TIMEOUT_MS, and 2 s for a check and a slow machine. */
const slowestAnswerMs = 7_000

const interrupted = new AbortController()
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.on(signal, () => {
    if (interrupted.signal.aborted) return
    console.log(`${signal}: taking everything down`)
    interrupted.abort(new Error(`interrupted by ${signal}`))
  })
}

const stack = await Stack.create(interrupted.signal)
const runner = new Runner(interrupted.signal)
const loadBalancer = stack.url('load-balancer')
const [node1, node2, node3] = nodeNames.map((name) => stack.url(name)) as [string, string, string]

async function testAll(): Promise<void> {
  console.log(`# project ${stack.project}, load balancer on ${loadBalancer}`)
  const isUp = await runner.test(
    'Three nodes become ready, and what is written through the load balancer is read from each',
    async () => {
      note('building and starting')
      await stack.up()
      for (const base of [node1, node2, node3, loadBalancer]) {
        await until(`${base} is ready`, patienceMs, () => isReady(base))
      }
      const user = await registerUser(loadBalancer)
      for (const base of [node1, node2, node3]) {
        const answer = await readUser(base, user.id)
        assert.equal(answer.status, 200, describe(answer))
        assert.deepEqual(answer.body, user)
      }
      const servers = new Set<string>()
      await until('the load balancer uses every node', patienceMs, async () => {
        const answer = await readUser(loadBalancer, user.id)
        assert.deepEqual(answer.body, user)
        return servers.add(servedBy(answer)).size === nodeNames.length
      })
    },
  )
  // If the services do not start, all other tests would fail as well, and slowly.
  if (!isUp) return

  await runner.test('A write on one node is seen by the others within 2 s, without a token', async () => {
    const { id } = await registerUser(node1)
    for (const base of [node1, node2, node3]) await cachedInMemory(base, id)
    await write(node1, id, 1)
    const times = await Promise.all([node1, node2, node3].map((base) => seenOn(base, id, 1)))
    note(`seen after ${times.join(', ')} ms`)
  })

  await runner.test('Postgres and Redis cannot be reached from the host’s network', async () => {
    for (const service of ['postgres', 'redis'] as const) {
      const { HostConfig, NetworkSettings } = await stack.inspect(service)
      assert.deepEqual(HostConfig.PortBindings ?? {}, {})
      assert.ok(
        Object.values(NetworkSettings.Ports).every((published) => !published?.length),
        `${service} publishes ${JSON.stringify(NetworkSettings.Ports)}`,
      )
      assert.deepEqual(Object.keys(NetworkSettings.Networks), [`${stack.project}_${service}`])
      assert.ok(await stack.isInternal(service), `the network of ${service} is not internal`)
    }
  })

  await runner.test('No container’s main process is root', async () => {
    for (const service of serviceNames) {
      const status = await stack.exec(service, 'cat', '/proc/1/status')
      const users = /^Uid:\s+(\d+)\s+(\d+)/m.exec(status)
      assert.ok(users && users[1] !== '0' && users[2] !== '0', `${service} runs as ${users?.[0]}`)
    }
    for (const node of nodeNames) {
      assert.equal((await stack.inspect(node)).Config.User, 'node')
    }
  })

  await runner.test(
    'A node cut from Redis sees others’ writes, and they see its, within 2 s, and it is not slower',
    async () => {
      const usual = await answerTimes(node3, node1)
      const { id } = await registerUser(node1)
      for (const base of [node1, node2, node3]) await cachedInMemory(base, id)
      await stack.cut('node-3', 'redis')
      try {
        await write(node1, id, 1)
        note(`node 3 sees a write on node 1 after ${await seenOn(node3, id, 1)} ms`)
        for (const base of [node1, node2, node3]) await cachedInMemory(base, id)
        await write(node3, id, 2)
        const times = await Promise.all([node1, node2].map((base) => seenOn(base, id, 2)))
        note(`nodes 1 and 2 see a write on node 3 after ${times.join(' and ')} ms`)
        const cut = await answerTimes(node3, node1)
        for (const kind of ['write', 'first read', 'repeated read'] as const) {
          note(`median ${kind}: ${cut[kind].toFixed(1)} ms, usually ${usual[kind].toFixed(1)} ms`)
          assert.ok(cut[kind] <= usual[kind] + slowdownMs, `a ${kind} has become slower`)
        }
        await until('node 3 reports that Redis is down', patienceMs, async () => {
          const { status, body } = await send(node3, 'GET', '/health/ready')
          assert.equal(status, 200, 'node 3 is not ready without Redis')
          return (body as HealthReport).checks.redis.status === 'down'
        })
      } finally {
        await stack.reconnect('node-3', 'redis')
      }
      const back = await until('node 3 reads from Redis again', patienceMs, async () => {
        const { id: other } = await registerUser(node1)
        await readUser(node1, other)
        return cacheStatusOf(await readUser(node3, other)).startsWith('aftercommit-l2; hit')
      })
      note(`node 3 reads from Redis again after ${back} ms`)
    },
  )

  await runner.test(
    'A node cut from Postgres and Redis answers 503 once its lease is over, the load balancer leaves it out, ' +
      'and reconnected it serves the new value without a restart',
    async () => {
      const startedAt = (await stack.inspect('node-3')).State.StartedAt
      // Many reads at once leave many open connections to Postgres. After the cut, each of them is dead.
      const others = await Promise.all(Array.from({ length: 24 }, () => registerUser(node1)))
      await Promise.all(others.map(({ id }) => readUser(node3, id)))

      const writer = new Writer((await registerUser(node1)).id, node1)
      for (const base of [node1, node2, node3]) await cachedInMemory(base, writer.userId)
      const direct = new Reader(node3, writer)
      const balanced = new Reader(loadBalancer, writer)
      await during([writer, direct, balanced], async () => {
        await stack.cut('node-3', 'redis')
        await stack.cut('node-3', 'postgres')
        try {
          const refused = await until('node 3 answers 503', patienceMs, () =>
            direct.answers.some(({ status }) => status === 503),
          )
          note(`node 3 answers 503 from ${refused} ms after the cut on`)
          const answers = await Promise.all(others.map(({ id }) => readUser(node3, id)))
          note(`${answers.length} reads at once: ${Math.round(Math.max(...answers.map((a) => a.tookMs)))} ms`)
          for (const answer of answers) {
            assert.equal(answer.status, 503, describe(answer))
            assert.ok(answer.tookMs <= slowestRefusalMs, `slow: ${describe(answer)}`)
          }
          const seen = balanced.answers.length
          await until('the load balancer leaves node 3 out', patienceMs, () => {
            const last = balanced.answers.slice(seen).slice(-20)
            return last.length === 20 && last.every((answer) => servedBy(answer) !== 'node-3')
          })
        } finally {
          await stack.reconnect('node-3', 'postgres')
          await stack.reconnect('node-3', 'redis')
        }
        note(`node 3 is ready ${await until('node 3 is ready', patienceMs, () => isReady(node3))} ms later`)
        const seen = balanced.answers.length
        await until('the load balancer uses node 3 again', patienceMs, () =>
          balanced.answers.slice(seen).some((answer) => servedBy(answer) === 'node-3'),
        )
      })
      await seenOn(node3, writer.userId, writer.last)
      const { RestartCount, State } = await stack.inspect('node-3')
      assert.equal(State.StartedAt, startedAt)
      assert.equal(RestartCount, 0)

      const refused = direct.answers.filter(({ status }) => status === 503)
      note(
        `slowest answer: ${direct.slowestMs} ms from node 3, ${balanced.slowestMs} ms from the load balancer`,
      )
      note(`${writer.confirmed.length} writes, ${balanced.answers.length} reads through the load balancer`)
      note(`${direct.answers.length} reads from node 3, of them ${refused.length} refused`)
      for (const { headers } of refused) {
        assert.match(headers.get('Content-Type') ?? '', /^application\/problem\+json/)
        assert.match(headers.get('Retry-After') ?? '', /^\d+$/)
      }
      assert.deepEqual(writer.unconfirmed, [])
      assert.deepEqual(
        direct.faults(({ status }) => status === 503),
        [],
      )
      assert.deepEqual(balanced.faults(), [])
      assert.ok(direct.slowestMs <= slowestAnswerMs, 'an answer of node 3 was slow')
    },
  )

  await runner.test(
    'A killed node takes no committed write with it, and is ready once it is started again',
    async () => {
      const users = await Promise.all([1, 2, 3].map(() => registerUser(node1)))
      const writers = users.map(({ id }) => new Writer(id, loadBalancer))
      const readers = writers.flatMap((writer) =>
        [node1, node3, loadBalancer].map((base) => new Reader(base, writer)),
      )
      await during([...writers, ...readers], async () => {
        await until('each writer has written', patienceMs, () => writers.every(({ last }) => last >= 10))
        await stack.kill('node-2')
        const before = writers.map(({ confirmed }) => confirmed.length)
        await until('writes go on', patienceMs, () =>
          writers.every(({ confirmed }, i) => confirmed.length >= (before[i] ?? 0) + 40),
        )
        // The engine does not restart a container that was killed by a command.
        assert.equal((await stack.inspect('node-2')).State.Status, 'exited')
        await stack.start('node-2')
        note(`node 2 is ready ${await until('node 2 is ready', patienceMs, () => isReady(node2))} ms later`)
        const balanced = readers[2]!
        const seen = balanced.answers.length
        await until('the load balancer uses node 2 again', patienceMs, () =>
          balanced.answers.slice(seen).some((answer) => servedBy(answer) === 'node-2'),
        )
      })
      for (const writer of writers) {
        for (const base of [node1, node2, node3, loadBalancer]) {
          await until(
            `${base} has the last write`,
            maxStalenessMs,
            async () => writtenValue(await readUser(base, writer.userId)) >= writer.last,
          )
        }
      }
      const unconfirmed = writers.flatMap((writer) => writer.unconfirmed)
      note(
        `${writers.flatMap(({ confirmed }) => confirmed).length} writes, ${unconfirmed.length} unconfirmed`,
      )
      note(`slowest read: ${Math.max(...readers.map(({ slowestMs }) => slowestMs))} ms`)
      // Each writer may have had one write under way on node 2.
      assert.ok(unconfirmed.length <= writers.length, unconfirmed.join('\n'))
      assert.deepEqual(
        readers.flatMap((reader) => reader.faults()),
        [],
      )
    },
  )

  await runner.test('A stopped node exits with 0 within 10 s, and nobody’s read fails', async () => {
    const writer = new Writer((await registerUser(node1)).id, node1)
    const readers = [1, 2, 3].map(() => new Reader(loadBalancer, writer))
    const stopped: NodeName = 'node-3'
    await during([writer, ...readers], async () => {
      const startedAt = performance.now()
      await stack.stop(stopped, 15)
      const tookMs = Math.round(performance.now() - startedAt)
      const { State } = await stack.inspect(stopped)
      note(`stopped after ${tookMs} ms`)
      assert.equal(State.ExitCode, 0)
      assert.ok(tookMs < 10_000, `it took ${tookMs} ms`)
    })
    assert.deepEqual(
      readers.flatMap((reader) => reader.faults()),
      [],
    )
  })
}

try {
  await testAll()
  if (runner.failed && !interrupted.signal.aborted) console.log(await stack.logs())
} finally {
  await stack.down()
}
process.exit(runner.finish() && !interrupted.signal.aborted ? 0 : 1)
