import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { isThorough } from '../support/depth.js'
import { getUser, registerUser, renameUser, warm } from './client.js'
import { type Cluster, startCluster } from './cluster.js'

const writes = isThorough ? 1_000 : 200

describe('read your writes, on any node', () => {
  let cluster: Cluster

  beforeAll(async () => {
    cluster = await startCluster({}, {}, {})
  })
  afterAll(() => cluster.stop())

  test('writes on one node are each read on another by their token', async () => {
    const { nodes } = cluster
    const { id } = (await registerUser(nodes[0]!)).body
    for (const node of nodes) await warm(node, id)
    let oldWithoutToken = 0
    let hits = 0
    for (let write = 0; write < writes; write++) {
      const writer = nodes[write % 3]!
      const reader = nodes[(write + 1) % 3]!
      const name = `write ${write}`
      const { headers } = await renameUser(writer, id, name)
      if ((await getUser(nodes[(write + 2) % 3]!, id)).body.name !== name) oldWithoutToken++
      const read = await getUser(reader, id, { 'consistency-token': headers.get('consistency-token')! })
      expect(read.body.name).toBe(name)
      if (read.headers.get('cache-status')?.endsWith('hit')) hits++
    }
    console.log(
      `without the token ${oldWithoutToken} of ${writes} reads were old; with it 0, and ${hits} were hits`,
    )
  }, 120_000)

  test('a client that carries its token along never goes back in time, whoever else writes', async () => {
    const { nodes } = cluster
    const { id } = (await registerUser(nodes[0]!)).body
    let running = true
    const writer = (async () => {
      for (let write = 0; running; write++) await renameUser(nodes[write % 3]!, id, `write ${write}`)
    })()
    let token = ''
    let seen = 0
    for (let read = 0; read < writes / 2; read++) {
      const answer = await getUser(nodes[read % 3]!, id, token ? { 'consistency-token': token } : {})
      expect(answer.body.version).toBeGreaterThanOrEqual(seen)
      seen = answer.body.version
      token = answer.headers.get('consistency-token')!
    }
    running = false
    await writer
    expect(seen).toBeGreaterThan(1)
  }, 120_000)

  test('a forged token of a far position costs one check and is not handed on', async () => {
    const [node] = cluster.nodes
    const { id } = (await registerUser(node!)).body
    const { headers } = await renameUser(node!, id, 'real')
    const [epoch, position] = headers.get('consistency-token')!.split('.')
    const read = await getUser(node!, id, { 'consistency-token': `${epoch}.999999999999` })
    expect(read.status).toBe(200)
    const answered = read.headers.get('consistency-token')!.split('.')[1]!
    expect(answered === 'pending' || Number(answered) <= Number(position) + 10).toBe(true)
  })

  test('a token of another epoch is honoured as one that has no position yet', async () => {
    const [node] = cluster.nodes
    const { id } = (await registerUser(node!)).body
    const read = await getUser(node!, id, { 'consistency-token': '0123456789abcdef.1' })
    expect(read.status).toBe(200)
    expect(read.headers.get('consistency-token')).not.toContain('0123456789abcdef')
  })

  test.each(['', 'x', '1', '0123456789abcdef.-1', '0123456789abcdef.1e3', 'a.b.c', '😀', ' '.repeat(10)])(
    'an unreadable token is a 400 and changes nothing: %j',
    async (token) => {
      const [node] = cluster.nodes
      const { id } = (await registerUser(node!)).body
      const headers = { 'consistency-token': Buffer.from(token).toString('latin1') }
      const read = await getUser(node!, id, headers)
      expect([read.status, read.headers.get('content-type')]).toEqual([
        400,
        'application/problem+json; charset=utf-8',
      ])
    },
  )
})
