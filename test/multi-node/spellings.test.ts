import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { Redis } from 'ioredis'
import pg from 'pg'
import type { NodeProcess } from '../../tools/local-stack/index.js'
import { type Answer, getUser, registerUser, request, type User, until, warm } from './client.js'
import { type Cluster, startCluster } from './cluster.js'

describe('an id in upper case, on three nodes', () => {
  let cluster: Cluster
  let nodes: readonly [NodeProcess, NodeProcess, NodeProcess]
  let redis: Redis

  beforeAll(async () => {
    cluster = await startCluster({}, {}, {})
    nodes = cluster.nodes as unknown as typeof nodes
    redis = new Redis(cluster.redis.url)
  })
  afterAll(async () => {
    redis.disconnect()
    await cluster.stop()
  })

  const tokenOf = ({ headers }: Answer<unknown>) => ({
    'consistency-token': headers.get('consistency-token') ?? '',
  })

  const setPermissions = (id: string, permissions: string[]) =>
    request<User>(nodes[0], 'PUT', `/users/${id}/permissions`, { body: { permissions } })

  /** An administrator whom every node has in memory, and L2 as well, by an id in upper case. */
  async function knownAdministrator(): Promise<{ usual: string; upper: string }> {
    const usual = (await registerUser(nodes[0])).body.id
    const granted = await setPermissions(usual, ['admin'])
    const upper = usual.toUpperCase()
    for (const node of nodes) {
      expect((await getUser(node, upper, tokenOf(granted))).body.permissions).toEqual(['admin'])
      await warm(node, upper)
    }
    await until('L2 has it', async () => (await keysOf(usual)).length > 0)
    return { usual, upper }
  }

  async function keysOf(id: string): Promise<string[]> {
    return (await redis.keys('*')).filter(
      (key) => !key.includes(':lock-') && key.toLowerCase().endsWith(`:${id}`),
    )
  }

  test('is the same user, answered with the usual id, and one entry in each tier', async () => {
    const { usual, upper } = await knownAdministrator()
    for (const node of nodes) {
      const answer = await getUser(node, usual)
      expect([answer.headers.get('cache-status'), answer.body.id]).toEqual(['aftercommit-l1; hit', usual])
      expect((await getUser(node, upper)).body).toEqual(answer.body)
    }
    expect(await keysOf(usual)).toHaveLength(1)
  })

  test('shows no permission that was revoked by the usual id, on no node, nor on one that starts from L2', async () => {
    const { usual, upper } = await knownAdministrator()
    const revoked = await setPermissions(usual, [])
    for (const node of [...nodes, await cluster.add()]) {
      const answer = await getUser(node, upper, tokenOf(revoked))
      expect([answer.status, answer.body.permissions]).toEqual([200, []])
    }
  })

  test('is not found once the user is deleted by the usual id, on no node, nor on one that starts from L2', async () => {
    const { usual, upper } = await knownAdministrator()
    const deleted = await request(nodes[1], 'DELETE', `/users/${usual}`)
    expect(deleted.status).toBe(204)
    for (const node of [...nodes, await cluster.add()]) {
      expect((await getUser(node, upper, tokenOf(deleted))).status).toBe(404)
    }
  })

  test('writes to the same user: what it changes is seen by the usual id', async () => {
    const { usual, upper } = await knownAdministrator()
    for (const node of nodes) await warm(node, usual)
    const renamed = await request<User>(nodes[2], 'PATCH', `/users/${upper}`, {
      body: { name: 'Grace' },
      headers: { 'if-match': '"2"' },
    })
    expect([renamed.status, renamed.body.id]).toEqual([200, usual])
    const deleted = await request(nodes[0], 'DELETE', `/users/${upper}`)
    for (const node of nodes) expect((await getUser(node, usual, tokenOf(deleted))).status).toBe(404)
  })

  test('in an event that somebody inserts by hand makes every node fresh', async () => {
    const { usual, upper } = await knownAdministrator()
    for (const node of nodes) await warm(node, usual)
    const database = new pg.Client(cluster.databaseUrl)
    await database.connect()
    await database.query(`
      begin;
      update user_account set permissions = '{}' where id = '${usual}';
      insert into aftercommit_kernel.outbox_message (type, payload)
        values ('users.user-permissions-changed', '${JSON.stringify({ userId: upper, permissions: [] })}');
      commit`)
    await database.end()
    for (const node of nodes) {
      await until(`${node.name} shows what was written`, async () => {
        return (await getUser(node, usual)).body.permissions.length === 0
      })
    }
  })

  test('of nobody is remembered as nobody, by either spelling, until somebody has it', async () => {
    const usual = randomUUID()
    for (const id of [usual.toUpperCase(), usual]) expect((await getUser(nodes[0], id)).status).toBe(404)
    expect((await getUser(nodes[0], usual.toUpperCase())).headers.get('cache-status')).toBe(
      'aftercommit-l1; hit',
    )
    await until('L2 has it', async () => (await keysOf(usual)).length > 0)
    expect(await keysOf(usual)).toHaveLength(1)
  })
})
