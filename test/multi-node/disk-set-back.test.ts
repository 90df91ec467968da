import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { query } from '../../tools/local-stack/databases.js'
import { findPostgresPrograms, type PostgresPrograms } from '../../tools/local-stack/embedded-postgres.js'
import { onFreePort } from '../../tools/local-stack/free-port.js'
import { type NodeProcess, type RedisServer, startNode, startRedis } from '../../tools/local-stack/index.js'
import { initialisePostgres, launchPostgres } from '../../tools/local-stack/postgres-server.js'
import { openReapedFolder, type ReapedFolder } from '../../tools/local-stack/reaped-folder.js'
import { getUser, registerUser, renameUser, until, warm } from './client.js'

const copy = (from: string, to: string) => promisify(execFile)('cp', ['-a', from, to])

describe('the disk of Postgres is set back to a snapshot, and every node restarted', () => {
  const password = randomBytes(16).toString('hex')
  let folder: ReapedFolder
  let redis: RedisServer
  let programs: PostgresPrograms
  let data: string
  let postgres: Awaited<ReturnType<typeof launchPostgres>>
  let nodes: NodeProcess[] = []

  beforeAll(async () => {
    folder = await openReapedFolder()
    redis = await startRedis(folder.path)
    programs = await findPostgresPrograms(folder.path)
    data = await initialisePostgres(programs, folder.path, password)
    postgres = await onFreePort((port) => launchPostgres(programs, data, port, false))
    const superuser = `postgres://superuser:${password}@127.0.0.1:${postgres.port}/postgres`
    await query(superuser, `CREATE ROLE aftercommit LOGIN CREATEDB PASSWORD '${password}'`)
    await query(superuser, 'CREATE DATABASE aftercommit OWNER aftercommit TEMPLATE template0')
  })
  afterAll(async () => {
    await Promise.all(nodes.map((node) => node.stop()))
    await folder.close()
  })

  async function startNodes(): Promise<readonly [NodeProcess, NodeProcess]> {
    const databaseUrl = `postgres://aftercommit:${password}@127.0.0.1:${postgres.port}/aftercommit`
    const start = (name: string) =>
      startNode({
        stack: { folder: folder.path, watch: folder.watch },
        databaseUrl,
        redisUrl: redis.url,
        name,
        // Any will do: it lets a test read one tier alone.
        env: { FAULTS: 'before-load:hold:0' },
      })
    nodes = await Promise.all(['node-1', 'node-2'].map(start))
    return nodes as [NodeProcess, NodeProcess]
  }

  async function stopAll(): Promise<void> {
    await Promise.all(nodes.map((node) => node.stop()))
    process.kill(postgres.pid, 'SIGINT')
    await postgres.exited
  }

  const startPostgresAgain = async () => {
    postgres = await launchPostgres(programs, data, postgres.port, false)
  }

  test('nothing of the lost history is served, neither at once nor when the new one has grown as long', async () => {
    const [first] = await startNodes()
    const { id } = (await registerUser(first)).body
    await stopAll()
    await copy(data, `${data}-snapshot`)
    await startPostgresAgain()

    const [writer, reader] = await startNodes()
    await renameUser(writer, id, 'lost')
    await warm(writer, id)
    await until('the lost value is in L2', async () => {
      const { status, body } = await getUser(reader, id, { 'read-tier': 'l2' })
      return status === 200 && body.name === 'lost'
    })
    await stopAll()
    await promisify(execFile)('rm', ['-r', data])
    await copy(`${data}-snapshot`, data)
    await startPostgresAgain()

    for (const node of await startNodes()) expect((await getUser(node, id)).body.name).toBe('Ada')
    for (const name of ['found', 'found again']) {
      const { headers } = await renameUser(nodes[0]!, id, name)
      const token = { 'consistency-token': headers.get('consistency-token') ?? '' }
      for (const node of nodes) expect((await getUser(node, id, token)).body.name).toBe(name)
    }
  }, 180_000)
})
