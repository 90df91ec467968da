import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { Redis } from 'ioredis'
import pg from 'pg'
import type { NodeProcess } from '../../tools/local-stack/index.js'
import { type Answer, pause, registerUser, request, until } from './client.js'
import { type Cluster, maxStalenessMs, startCluster } from './cluster.js'

type Body = Record<string, unknown>

describe('the HTTP interface', () => {
  let cluster: Cluster
  let node: NodeProcess
  let other: NodeProcess

  beforeAll(async () => {
    cluster = await startCluster({}, {})
    ;[node, other] = cluster.nodes as [NodeProcess, NodeProcess]
  })
  afterAll(() => cluster.stop())

  const call = (method: string, path: string, body?: unknown, headers?: Record<string, string>, at = node) =>
    request<Body>(at, method, path, {
      ...(body === undefined ? {} : { body }),
      ...(headers ? { headers } : {}),
    })

  /** Reads on the other node what was just written here. */
  const readElsewhere = (path: string, written: Answer<unknown>) =>
    call('GET', path, undefined, { 'consistency-token': written.headers.get('consistency-token')! }, other)

  test('users: created, read, changed, permitted, deleted; each seen on the other node', async () => {
    const created = await call('POST', '/users', { email: 'ada@example.org', name: 'Ada' })
    const id = created.body.id as string
    expect([created.status, created.headers.get('location'), created.headers.get('etag')]).toEqual([
      201,
      `/users/${id}`,
      '"1"',
    ])
    expect(created.body).toEqual({ id, email: 'ada@example.org', name: 'Ada', permissions: [], version: 1 })
    expect((await readElsewhere(`/users/${id}`, created)).body).toEqual(created.body)

    const renamed = await call('PATCH', `/users/${id}`, { name: 'Grace' }, { 'if-match': '"1"' })
    expect([renamed.status, renamed.body.name, renamed.body.version]).toEqual([200, 'Grace', 2])
    expect((await readElsewhere(`/users/${id}`, renamed)).body).toEqual(renamed.body)
    expect((await call('PATCH', `/users/${id}`, { name: 'X' }, { 'if-match': '"1"' })).status).toBe(412)

    const permitted = await call('PUT', `/users/${id}/permissions`, { permissions: ['b', 'a', 'b'] })
    expect([permitted.status, permitted.body.permissions]).toEqual([200, ['a', 'b']])
    expect((await readElsewhere(`/users/${id}`, permitted)).body).toEqual(permitted.body)

    const deleted = await call('DELETE', `/users/${id}`)
    expect([deleted.status, deleted.body]).toEqual([204, undefined])
    expect((await readElsewhere(`/users/${id}`, deleted)).status).toBe(404)
    expect((await call('DELETE', `/users/${id}`)).status).toBe(404)
  })

  test('feature flags: created, replaced, listed in order of name, deleted, and created anew with a later version', async () => {
    const path = '/feature-flags/new-checkout'
    expect((await call('GET', path, undefined, undefined, other)).status).toBe(404)
    await until('the 404 is cached', async () => {
      const again = await call('GET', path, undefined, undefined, other)
      return again.headers.get('cache-status') === 'aftercommit-l1; hit'
    })
    const created = await call('PUT', path, { enabled: false })
    expect([created.status, created.body]).toEqual([
      201,
      { name: 'new-checkout', enabled: false, version: 1 },
    ])
    expect((await readElsewhere(path, created)).body).toEqual(created.body)

    const replaced = await call('PUT', path, { enabled: true, description: 'for all' })
    expect([replaced.status, replaced.headers.get('etag')]).toEqual([200, '"2"'])
    expect((await readElsewhere(path, replaced)).body).toEqual(replaced.body)

    await call('PUT', '/feature-flags/a-flag', { enabled: true })
    const last = await call('PUT', '/feature-flags/z-flag', { enabled: true })
    const page = await readElsewhere('/feature-flags?limit=2', last)
    expect((page.body.items as Body[]).map(({ name }) => name)).toEqual(['a-flag', 'new-checkout'])
    const rest = await readElsewhere(`/feature-flags?limit=2&after=${page.body.next}`, last)
    expect([(rest.body.items as Body[]).map(({ name }) => name), rest.body.next]).toEqual([
      ['z-flag'],
      undefined,
    ])

    const deleted = await call('DELETE', path)
    expect(deleted.status).toBe(204)
    expect((await readElsewhere(path, deleted)).status).toBe(404)
    expect((await call('DELETE', path)).status).toBe(404)
    const anew = await call('PUT', path, { enabled: false })
    expect(anew.status).toBe(201)
    // An old ETag must not match a new thing of the same name.
    expect(anew.body.version).toBeGreaterThan(2)
  })

  test('products: created, moved, repriced as a category with one command, and removed', async () => {
    const tea = { name: 'Tea', category: 'drinks', priceCents: 105, currency: 'EUR' }
    const created = await call('PUT', '/products/tea', tea)
    expect([created.status, created.body]).toEqual([201, { sku: 'tea', ...tea, version: 1 }])
    await call('PUT', '/products/mug', { ...tea, name: 'Mug', category: 'pots', priceCents: 500 })
    const milk = await call('PUT', '/products/milk', { ...tea, name: 'Milk', priceCents: 5 })
    const drinks = await readElsewhere('/products?category=drinks', milk)
    expect((drinks.body.items as Body[]).map(({ sku }) => sku)).toEqual(['milk', 'tea'])
    for (const sku of ['tea', 'milk', 'mug']) await readElsewhere(`/products/${sku}`, milk)

    const repriced = await call('POST', '/categories/drinks/reprice', { percent: -50 })
    expect([repriced.status, repriced.body]).toEqual([200, { repriced: 2 }])
    // Half a cent is rounded away from zero.
    expect((await readElsewhere('/products/tea', repriced)).body).toMatchObject({
      priceCents: 53,
      version: 2,
    })
    expect((await readElsewhere('/products/milk', repriced)).body).toMatchObject({
      priceCents: 3,
      version: 2,
    })
    expect((await readElsewhere('/products/mug', repriced)).body).toMatchObject({
      priceCents: 500,
      version: 1,
    })
    const after = await readElsewhere('/products?category=drinks', repriced)
    expect((after.body.items as Body[]).map(({ priceCents }) => priceCents)).toEqual([3, 53])

    const moved = await call('PUT', '/products/tea', { ...tea, category: 'pots' })
    expect(moved.status).toBe(200)
    const [left, entered] = await Promise.all([
      readElsewhere('/products?category=drinks', moved),
      readElsewhere('/products?category=pots', moved),
    ])
    expect((left.body.items as Body[]).map(({ sku }) => sku)).toEqual(['milk'])
    expect((entered.body.items as Body[]).map(({ sku }) => sku)).toEqual(['mug', 'tea'])

    const removed = await call('DELETE', '/products/tea')
    expect(removed.status).toBe(204)
    expect((await readElsewhere('/products/tea', removed)).status).toBe(404)
    const all = await readElsewhere('/products', removed)
    expect((all.body.items as Body[]).map(({ sku }) => sku)).toEqual(['milk', 'mug'])
  })

  test('an answer says where it came from, and its token gets a position once a check has covered it', async () => {
    const { body } = await registerUser(node)
    const path = `/users/${body.id}`
    const miss = await call('GET', path)
    expect(miss.headers.get('cache-status')).toBe('aftercommit-l1; fwd=miss')
    // What a load saw may have no number yet.
    expect(miss.headers.get('consistency-token')).toMatch(/^[0-9a-f]{16}\.pending$/)
    expect((await call('GET', path)).headers.get('cache-status')).toBe('aftercommit-l1; hit')
    const redis = new Redis(cluster.redis.url)
    await until('L2 has it', async () => (await redis.keys(`*:${body.id}`)).length > 0)
    redis.disconnect()
    const copy = await call('GET', path, undefined, undefined, other)
    expect([copy.headers.get('cache-status'), copy.body]).toEqual(['aftercommit-l2; hit', miss.body])
    await until('the token has a position', async () =>
      /\.\d+$/.test((await call('GET', path)).headers.get('consistency-token')!),
    )
  })

  test('a client that has the representation gets a 304', async () => {
    const { body, headers } = await registerUser(node)
    const etag = headers.get('etag')!
    const answer = await call('GET', `/users/${body.id}`, undefined, { 'if-none-match': etag })
    expect([answer.status, answer.body]).toEqual([304, undefined])
    const written = await call('PATCH', `/users/${body.id}`, { name: 'New' })
    const afterwards = {
      'if-none-match': etag,
      'consistency-token': written.headers.get('consistency-token')!,
    }
    expect((await call('GET', `/users/${body.id}`, undefined, afterwards)).status).toBe(200)
  })

  test('a change that changes nothing keeps the version', async () => {
    const { body } = await registerUser(node, 'Same')
    const answer = await call('PATCH', `/users/${body.id}`, { name: 'Same' })
    expect([answer.status, answer.body.version]).toEqual([200, 1])
  })

  test('a welcome message is written once for every user that registers', async () => {
    const { id } = (await registerUser(node)).body
    const database = new pg.Client(cluster.databaseUrl)
    await database.connect()
    await until('it is written', async () => {
      const { rows } = await database.query('select text from welcome_message where user_id = $1', [id])
      return rows.length === 1
    })
    await pause(maxStalenessMs)
    const { rows } = await database.query(
      `select d.handler, d.state, d.attempts from aftercommit_kernel.event_delivery d
       join aftercommit_kernel.outbox_message m using (position) where m.payload->>'userId' = $1`,
      [id],
    )
    await database.end()
    expect(rows).toEqual([{ handler: 'users.write-welcome-message', state: 'done', attempts: 1 }])
  })

  test('the OpenAPI document lists the routes, and there is a page for people', async () => {
    const { body } = await request<{ openapi: string; paths: Record<string, Body> }>(
      node,
      'GET',
      '/openapi.json',
    )
    expect(body.openapi).toMatch(/^3\.1/)
    const routes = Object.entries(body.paths).flatMap(([path, methods]) =>
      Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`),
    )
    expect(routes.sort()).toEqual(
      [
        'POST /users',
        'GET /users/{id}',
        'PATCH /users/{id}',
        'DELETE /users/{id}',
        'PUT /users/{id}/permissions',
        ...['PUT', 'GET', 'DELETE'].map((method) => `${method} /feature-flags/{name}`),
        'GET /feature-flags',
        ...['PUT', 'GET', 'DELETE'].map((method) => `${method} /products/{sku}`),
        'GET /products',
        'POST /categories/{category}/reprice',
        'GET /health/live',
        'GET /health/ready',
      ].sort(),
    )
    // Whatever a schema makes of an id, clients are told what an id is.
    const operation = body.paths['/users/{id}']?.get as { parameters: readonly Body[]; responses: Body }
    expect(operation.parameters).toContainEqual(
      expect.objectContaining({
        name: 'id',
        schema: expect.objectContaining({ type: 'string', format: 'uuid' }),
      }),
    )
    expect(JSON.stringify(operation.responses)).toContain('"format":"uuid"')
    const docs = await fetch(`${node.url}/docs`)
    expect([docs.status, docs.headers.get('content-type')]).toEqual([200, 'text/html; charset=utf-8'])
  })
})
