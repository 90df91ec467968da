import { expect, test } from '@jest/globals'
import { composeUp, until } from '../kit/compose.js'
import { cachedInMemory, note, readUser, registerUser, seenOn, servedBy, write } from './users.js'

const cluster = await composeUp()
const { nodes, loadBalancer } = cluster

test('Three nodes become ready, and what is written through the load balancer is read from each', async () => {
  expect(nodes.map(({ name }) => name)).toEqual(['node-1', 'node-2', 'node-3'])
  for (const base of [...nodes, loadBalancer]) {
    await until(`${base.name} is ready`, async () => (await base.get('/health/ready')).status === 200)
  }
  const user = await registerUser(loadBalancer)
  for (const node of nodes) {
    const { status, body } = await readUser(node, user.id)
    expect({ status, body }).toEqual({ status: 200, body: user })
  }
  const servers = new Set<string>()
  await until('the load balancer uses every node', async () => {
    const answer = await readUser(loadBalancer, user.id)
    expect(answer.body).toEqual(user)
    return servers.add(servedBy(answer)).size === nodes.length
  })
})

test('A write on one node is seen by the others within 2 s, without a token', async () => {
  const writer = cluster.node('node-1')
  const { id } = await registerUser(writer)
  await cachedInMemory(nodes, id)
  await write(writer, id, 1)
  const times = await Promise.all(nodes.map((node) => seenOn(node, id, 1)))
  note(`seen after ${times.join(', ')} ms`)
})
