import { expect, test } from '@jest/globals'
import { composeUp, until } from '../kit/compose.js'
import { during, Reader, Writer } from './traffic.js'
import {
  answerTimes,
  cachedInMemory,
  cacheStatusOf,
  describeAnswer,
  note,
  readUser,
  registerUser,
  seenOn,
  servedBy,
  type User,
  write,
} from './users.js'

/** How much slower, in ms, a node may answer without Redis. */
const slowdownMs = 50

/** How long, in ms, the refusal of a read may take: 1 s for a check, 2 s to connect, and 1 s for a slow machine. */
const slowestRefusalMs = 4_000

/** The same for a read that was under way at the cut: DATABASE_TIMEOUT_MS, and 2 s for a check and a slow machine. */
const slowestAnswerMs = 7_000

const cluster = await composeUp()
const { nodes, loadBalancer } = cluster
const [node1, node2, node3] = [cluster.node('node-1'), cluster.node('node-2'), cluster.node('node-3')]

test('A node cut from Redis sees others’ writes, and they see its, within 2 s, and it is not slower', async () => {
  const usual = await answerTimes(node3, node1)
  const { id } = await registerUser(node1)
  await cachedInMemory(nodes, id)
  await cluster.cut('node-3', 'redis')

  await write(node1, id, 1)
  note(`node 3 sees a write on node 1 after ${await seenOn(node3, id, 1)} ms`)
  await cachedInMemory(nodes, id)
  await write(node3, id, 2)
  const times = await Promise.all([node1, node2].map((node) => seenOn(node, id, 2)))
  note(`nodes 1 and 2 see a write on node 3 after ${times.join(' and ')} ms`)

  const cut = await answerTimes(node3, node1)
  for (const kind of ['write', 'first read', 'repeated read'] as const) {
    note(`median ${kind}: ${cut[kind].toFixed(1)} ms, usually ${usual[kind].toFixed(1)} ms`)
    expect(cut[kind]).toBeLessThanOrEqual(usual[kind] + slowdownMs)
  }
  await until('node 3 reports that Redis is down, and that it is ready', async () => {
    const { status, body } = await node3.get('/health/ready')
    expect({ status, body }).toMatchObject({ status: 200, body: { checks: { redis: { status: 'down' } } } })
  })

  await cluster.reconnect('node-3', 'redis')
  const back = await until('node 3 reads from Redis again', async () => {
    const { id: other } = await registerUser(node1)
    await readUser(node1, other)
    return /-l2; hit/.test(cacheStatusOf(await readUser(node3, other)))
  })
  note(`node 3 reads from Redis again after ${back} ms`)
})

test(
  'A node cut from Postgres and Redis answers 503 once its lease is over, the load balancer leaves it out, ' +
    'and reconnected it serves the new value without a restart',
  async () => {
    const { RestartCount: restarts, State: before } = await cluster.inspect('node-3')
    // One after another: on a busy machine, so many new connections to Postgres at once take longer than a write may.
    const others: User[] = []
    for (let count = 0; count < 24; count++) others.push(await registerUser(node1))
    // Many reads at once leave many open connections to Postgres. After the cut, each of them is dead.
    await Promise.all(others.map(({ id }) => readUser(node3, id)))

    const writer = new Writer((await registerUser(node1)).id, node1)
    await cachedInMemory(nodes, writer.userId)
    const direct = new Reader(node3, writer)
    const balanced = new Reader(loadBalancer, writer)
    await during([writer, direct, balanced], async () => {
      await cluster.cut('node-3', 'redis')
      await cluster.cut('node-3', 'postgres')

      const refused = await until('node 3 answers 503', () =>
        direct.answers.some(({ status }) => status === 503),
      )
      note(`node 3 answers 503 from ${refused} ms after the cut on`)
      const answers = await Promise.all(others.map(({ id }) => readUser(node3, id)))
      note(`${answers.length} reads at once: ${Math.round(Math.max(...answers.map((a) => a.tookMs)))} ms`)
      const notRefused = answers.filter(({ status, tookMs }) => status !== 503 || tookMs > slowestRefusalMs)
      expect(notRefused.map(describeAnswer)).toEqual([])
      const seen = balanced.answers.length
      await until('the load balancer leaves node 3 out', () => {
        const last = balanced.answers.slice(seen).slice(-20)
        return last.length === 20 && last.every((answer) => servedBy(answer) !== 'node-3')
      })

      await cluster.reconnect('node-3', 'postgres')
      await cluster.reconnect('node-3', 'redis')
      const isReady = async () => (await node3.get('/health/ready')).status === 200
      note(`node 3 is ready ${await until('node 3 is ready', isReady)} ms later`)
      const seenSince = balanced.answers.length
      await until('the load balancer uses node 3 again', () =>
        balanced.answers.slice(seenSince).some((answer) => servedBy(answer) === 'node-3'),
      )
    })
    await seenOn(node3, writer.userId, writer.last)
    const { RestartCount, State } = await cluster.inspect('node-3')
    expect(State.StartedAt).toBe(before.StartedAt)
    expect(RestartCount).toBe(restarts)

    const refused = direct.answers.filter(({ status }) => status === 503)
    note(
      `slowest answer: ${direct.slowestMs} ms from node 3, ${balanced.slowestMs} ms from the load balancer`,
    )
    note(`${writer.confirmed.length} writes, ${balanced.answers.length} reads through the load balancer`)
    note(`${direct.answers.length} reads from node 3, of them ${refused.length} refused`)
    for (const { headers } of refused) {
      expect(headers.get('Content-Type')).toMatch(/^application\/problem\+json/)
      expect(headers.get('Retry-After')).toMatch(/^\d+$/)
    }
    expect(writer.unconfirmed).toEqual([])
    expect(direct.faults(({ status }) => status === 503)).toEqual([])
    expect(balanced.faults()).toEqual([])
    expect(direct.slowestMs).toBeLessThanOrEqual(slowestAnswerMs)
  },
)
