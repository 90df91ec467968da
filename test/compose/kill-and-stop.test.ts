import { expect, test } from '@jest/globals'
import { composeUp, until } from '../kit/compose.js'
import { during, Reader, Writer } from './traffic.js'
import { maxStalenessMs, note, readUser, registerUser, servedBy, writtenValue } from './users.js'

const cluster = await composeUp()
const { nodes, loadBalancer } = cluster
const [node1, node2, node3] = [cluster.node('node-1'), cluster.node('node-2'), cluster.node('node-3')]

test('A killed node takes no committed write with it, and is ready once it is started again', async () => {
  const users = await Promise.all([1, 2, 3].map(() => registerUser(node1)))
  const writers = users.map(({ id }) => new Writer(id, loadBalancer))
  const balanced = writers.map((writer) => new Reader(loadBalancer, writer))
  const direct = writers.flatMap((writer) => [node1, node3].map((node) => new Reader(node, writer)))
  const readers = [...balanced, ...direct]
  await during([...writers, ...readers], async () => {
    await until('each writer has written', () => writers.every(({ last }) => last >= 10))
    await cluster.kill('node-2')
    const before = writers.map(({ confirmed }) => confirmed.length)
    await until('writes go on', () =>
      writers.every(({ confirmed }, i) => confirmed.length >= (before[i] ?? 0) + 40),
    )
    // The engine does not restart a container that was killed by a command.
    expect((await cluster.inspect('node-2')).State.Status).toBe('exited')
    await cluster.start('node-2')
    const isReady = async () => (await node2.get('/health/ready')).status === 200
    note(`node 2 is ready ${await until('node 2 is ready', isReady)} ms later`)
    const through = balanced[0]!
    const seen = through.answers.length
    await until('the load balancer uses node 2 again', () =>
      through.answers.slice(seen).some((answer) => servedBy(answer) === 'node-2'),
    )
  })
  for (const writer of writers) {
    for (const base of [...nodes, loadBalancer]) {
      const hasLast = async () => writtenValue(await readUser(base, writer.userId)) >= writer.last
      await until(`${base.name} has the last write`, hasLast, maxStalenessMs)
    }
  }
  const unconfirmed = writers.flatMap((writer) => writer.unconfirmed)
  note(`${writers.flatMap(({ confirmed }) => confirmed).length} writes, ${unconfirmed.length} unconfirmed`)
  note(`slowest read: ${Math.max(...readers.map(({ slowestMs }) => slowestMs))} ms`)
  // Each writer may have had one write under way on node 2.
  expect(unconfirmed.slice(writers.length)).toEqual([])
  expect(readers.flatMap((reader) => reader.faults())).toEqual([])
})

test('A stopped node exits with 0 within 10 s, and nobody’s read fails', async () => {
  const writer = new Writer((await registerUser(node1)).id, node1)
  const readers = [1, 2, 3].map(() => new Reader(loadBalancer, writer))
  await during([writer, ...readers], async () => {
    const startedAt = performance.now()
    await cluster.stop('node-3', 15)
    const tookMs = Math.round(performance.now() - startedAt)
    note(`stopped after ${tookMs} ms`)
    expect((await cluster.inspect('node-3')).State.ExitCode).toBe(0)
    expect(tookMs).toBeLessThan(10_000)
  })
  expect(readers.flatMap((reader) => reader.faults())).toEqual([])
})
