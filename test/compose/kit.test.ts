import { expect, test } from '@jest/globals'
import { composeUp, until } from '../kit/compose.js'

const cluster = await composeUp()

test('After trouble of every kind, heal brings back all containers, connected and ready', async () => {
  await cluster.cut('redis', 'redis')
  await cluster.cut('node-1', 'postgres')
  await cluster.pause('node-2')
  await cluster.kill('node-3')
  await cluster.stop('load-balancer')
  await until('node-1 misses its servers', async () => !(await cluster.node('node-1').isReady()))

  await cluster.heal()

  for (const service of cluster.services) {
    const { State, NetworkSettings } = await cluster.inspect(service)
    expect({ service, status: State.Status }).toEqual({ service, status: 'running' })
    if (service.startsWith('node-')) expect(Object.keys(NetworkSettings.Networks)).toHaveLength(3)
  }
  for (const node of cluster.nodes) expect(await node.isReady()).toBe(true)
  expect((await cluster.loadBalancer.get('/health/live')).status).toBe(200)
})

test('A paused node does not answer, and goes on where it was', async () => {
  const { StartedAt } = (await cluster.inspect('node-2')).State
  await cluster.pause('node-2')
  let hasAnswered = false
  const answer = cluster.node('node-2').get('/health/live')
  const answered = answer.then(() => {
    hasAnswered = true
  })
  expect((await cluster.node('node-1').get('/health/live')).status).toBe(200)
  expect(hasAnswered).toBe(false)
  await cluster.resume('node-2')
  await answered
  expect((await answer).status).toBe(200)
  expect((await cluster.inspect('node-2')).State.StartedAt).toBe(StartedAt)
})

test('The logs of a service are those of its container', async () => {
  expect(await cluster.logs('node-2')).toContain('node-2')
  expect(await cluster.logs('postgres')).toMatch(/ready to accept connections/)
})

test('A name that docker-compose.yml does not have is refused with those that it has', async () => {
  expect(() => cluster.node('node-9')).toThrow(
    'There is no node-9, but load-balancer, node-1, node-2, node-3',
  )
  await expect(cluster.kill('broker')).rejects.toThrow(
    'There is no broker, but load-balancer, node-1, node-2, node-3, postgres, redis',
  )
})
