/**
 * One node of the usual design, as tutorials recommend it, with the packages that they use: `fastify`, `pg`, `lru-cache` in
 * memory (60 s), and `ioredis` with its defaults (300 s).
 *
 * A read asks memory, then Redis, then Postgres, and fills both caches. A write saves first and then invalidates: `DEL` in
 * Redis, and `PUBLISH` of the key, after which every node deletes the key from its memory. A read does not fail if Redis
 * fails. The code has no bug. What goes wrong follows from the design.
 */
import { randomUUID } from 'node:crypto'
import { fastify } from 'fastify'
import { Redis } from 'ioredis'
import { LRUCache } from 'lru-cache'
import pg from 'pg'
// The same faults, at the same points, as on the other side.
import { Faults, parseFaults } from '../../src/kernel/faults.js'

interface User {
  readonly id: string
  readonly email: string
  readonly name: string
  readonly version: number
}

interface Id {
  readonly Params: { readonly id: string }
}

type Source = 'l1; hit' | 'l2; hit' | 'l1; fwd=miss'

const { DATABASE_URL, REDIS_URL = '', NODE_NAME = '', HOST, PORT, FAULTS = '' } = process.env
const channel = 'naive:invalidate'
const redisSeconds = 300

const faults = new Faults(parseFaults(FAULTS))
const database = new pg.Pool({ connectionString: DATABASE_URL, max: 20 })
const memory = new LRUCache<string, User>({ max: 10_000, ttl: 60_000 })
const redis = new Redis(REDIS_URL, { connectionName: NODE_NAME })
const subscriber = redis.duplicate()
for (const connection of [redis, subscriber]) connection.on('error', (error) => console.error(error.message))

async function readUser(id: string): Promise<{ user: User | undefined; source: Source }> {
  const key = `naive:user:${id}`
  const inMemory = memory.get(key)
  if (inMemory) return { user: inMemory, source: 'l1; hit' }
  const inRedis = await redis.get(key).catch(() => null)
  if (inRedis !== null) {
    const user = JSON.parse(inRedis) as User
    memory.set(key, user)
    return { user, source: 'l2; hit' }
  }
  const { rows } = await database.query<User>('select * from naive_user where id = $1', [id])
  await faults.at('after-load-read')
  const [user] = rows
  if (user) {
    memory.set(key, user)
    await redis.set(key, JSON.stringify(user), 'EX', redisSeconds).catch(() => {})
  }
  return { user, source: 'l1; fwd=miss' }
}

async function renameUser(id: string, name: string): Promise<User | undefined> {
  const { rows } = await database.query<User>(
    'update naive_user set name = $2, version = version + 1 where id = $1 returning *',
    [id, name],
  )
  await faults.at('after-commit')
  const key = `naive:user:${id}`
  memory.delete(key)
  await redis.del(key)
  await redis.publish(channel, key)
  return rows[0]
}

subscriber.on('message', (_channel, key) => memory.delete(key))
await subscriber.subscribe(channel)

const app = fastify()

app.get('/health/ready', async () => {
  const connected = [redis, subscriber].every(({ status }) => status === 'ready')
  return { checks: { redis: { status: connected ? 'up' : 'down' } } }
})

app.post<{ Body: Pick<User, 'email' | 'name'> }>('/users', async ({ body: { email, name } }, reply) => {
  const { rows } = await database.query<User>(
    'insert into naive_user (id, email, name, version) values ($1, $2, $3, 1) returning *',
    [randomUUID(), email, name],
  )
  return reply.code(201).send(rows[0])
})

app.get<Id>('/users/:id', async ({ params }, reply) => {
  const { user, source } = await readUser(params.id)
  reply.header('Cache-Status', source)
  return user ?? reply.code(404).send()
})

app.patch<Id & { Body: Pick<User, 'name'> }>('/users/:id', async ({ params, body }, reply) => {
  return (await renameUser(params.id, body.name)) ?? reply.code(404).send()
})

await app.listen({ host: HOST ?? '127.0.0.1', port: Number(PORT) })
