import { get } from 'node:http'
import { connect } from 'node:net'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import type { NodeProcess } from '../../tools/local-stack/index.js'
import { until } from '../support/until.js'
import { getUser, registerUser, request } from './client.js'
import { type Cluster, startCluster } from './cluster.js'

const unknown = '00000000-0000-4000-8000-000000000000'

describe('bad input gets one clear problem and changes nothing', () => {
  let cluster: Cluster
  let node: NodeProcess
  let userId: string

  beforeAll(async () => {
    cluster = await startCluster({})
    node = cluster.nodes[0]!
    userId = (await registerUser(node)).body.id
  })
  afterAll(() => cluster.stop())

  /** Sends text that need not be JSON. */
  async function send(method: string, path: string, body?: string, headers: Record<string, string> = {}) {
    const response = await fetch(node.url + path, {
      method,
      headers: { ...(body === undefined ? {} : { 'content-type': 'application/json' }), ...headers },
      ...(body === undefined ? {} : { body }),
    })
    const text = await response.text()
    return { status: response.status, type: response.headers.get('content-type'), text }
  }

  const product = { name: 'Tea', category: 'drinks', priceCents: 100, currency: 'EUR' }
  const json = JSON.stringify

  test.each<[string, string, string, string | undefined, number]>([
    ['malformed JSON', 'POST', '/users', '{"email":', 400],
    ['an empty body', 'POST', '/users', '', 400],
    ['an array', 'POST', '/users', '[]', 400],
    ['a wrong type', 'POST', '/users', json({ email: 'a@b.org', name: 7 }), 400],
    ['an unknown field', 'POST', '/users', json({ email: 'a@b.org', name: 'A', admin: true }), 400],
    ['a poisoned prototype', 'POST', '/users', '{"email":"a@b.org","name":"A","__proto__":{"x":1}}', 400],
    ['no email', 'POST', '/users', json({ name: 'A' }), 400],
    ['an email that is none', 'POST', '/users', json({ email: 'nobody', name: 'A' }), 400],
    ['an empty name', 'POST', '/users', json({ email: 'a@b.org', name: '  ' }), 400],
    ['a name that nobody sees', 'POST', '/users', json({ email: 'a@b.org', name: '\u200B\u3164' }), 400],
    ['a name with a bell', 'POST', '/users', json({ email: 'a@b.org', name: 'A\u0007' }), 400],
    ['a name that reads backwards', 'POST', '/users', json({ email: 'a@b.org', name: 'A\u202Eb' }), 400],
    ['a new name that nobody sees', 'PATCH', `/users/${unknown}`, json({ name: '\u2800' }), 400],
    ['a body of 2 MiB', 'POST', '/users', json({ email: 'a@b.org', name: 'x'.repeat(2_097_152) }), 413],
    ['an id that is none', 'GET', '/users/42', undefined, 400],
    ['an id in braces', 'GET', `/users/%7B${unknown}%7D`, undefined, 400],
    ['an id without hyphens', 'GET', `/users/${unknown.replaceAll('-', '')}`, undefined, 400],
    ['an id as a URN', 'GET', `/users/urn:uuid:${unknown}`, undefined, 400],
    ['an unknown id', 'GET', `/users/${unknown}`, undefined, 404],
    ['an unknown id, changed', 'PATCH', `/users/${unknown}`, json({ name: 'A' }), 404],
    ['an unknown id, deleted', 'DELETE', `/users/${unknown}`, undefined, 404],
    [
      'permissions that are none',
      'PUT',
      `/users/${unknown}/permissions`,
      json({ permissions: ['a b'] }),
      400,
    ],
    [
      'permissions that are a text',
      'PUT',
      `/users/${unknown}/permissions`,
      json({ permissions: 'all' }),
      400,
    ],
    ['a product of an invisible name', 'PUT', '/products/tea', json({ ...product, name: '\u00AD' }), 400],
    ['a product in a category of ..', 'PUT', '/products/tea', json({ ...product, category: '..' }), 400],
    ['products of the category .', 'GET', '/products?category=.', undefined, 400],
    ['products after ..', 'GET', '/products?after=..', undefined, 400],
    ['flags after .', 'GET', '/feature-flags?after=.', undefined, 400],
    [
      'a flag described by a control',
      'PUT',
      '/feature-flags/a',
      '{"enabled":true,"description":"\\u001b"}',
      400,
    ],
    ['a negative price', 'PUT', '/products/tea', json({ ...product, priceCents: -1 }), 400],
    ['a fractional price', 'PUT', '/products/tea', json({ ...product, priceCents: 1.5 }), 400],
    [
      'a price beyond all bounds',
      'PUT',
      '/products/tea',
      '{"name":"T","category":"d","priceCents":1e400,"currency":"EUR"}',
      400,
    ],
    ['a percent of NaN', 'POST', '/categories/drinks/reprice', '{"percent":NaN}', 400],
    ['a percent of null', 'POST', '/categories/drinks/reprice', json({ percent: null }), 400],
    ['a percent below −90', 'POST', '/categories/drinks/reprice', json({ percent: -91 }), 400],
    ['a percent above 1,000', 'POST', '/categories/drinks/reprice', json({ percent: 1001 }), 400],
    ['a name with a space', 'GET', '/feature-flags/a%20b', undefined, 400],
    ['a name with a newline', 'PUT', '/feature-flags/a%0Ab', json({ enabled: true }), 400],
    ['a name with a null byte', 'GET', '/feature-flags/a%00b', undefined, 400],
    ['a name of *', 'GET', '/feature-flags/*', undefined, 400],
    ['a name in another script', 'GET', `/feature-flags/${encodeURIComponent('旗')}`, undefined, 400],
    ['a name that is no UTF-8', 'GET', '/feature-flags/%ff', undefined, 400],
    ['a name of 10 kB', 'GET', `/feature-flags/${'x'.repeat(10_240)}`, undefined, 400],
    ['a path of 20 kB', 'GET', `/feature-flags/${'x'.repeat(20_480)}`, undefined, 414],
    ['a path of 60 kB', 'GET', `/feature-flags/${'x'.repeat(61_440)}`, undefined, 414],
    ['a query of 17 kB', 'GET', `/products?category=${'x'.repeat(17_000)}`, undefined, 414],
    ['a limit of 0', 'GET', '/feature-flags?limit=0', undefined, 400],
    ['a limit of 1,001', 'GET', '/products?limit=1001', undefined, 400],
    ['an unknown parameter', 'GET', '/products?colour=red', undefined, 400],
    ['an unknown route', 'GET', '/nothing', undefined, 404],
  ])('%s', async (_what, method, path, body, status) => {
    const answer = await send(method, path, body)
    expect([answer.status, answer.type]).toEqual([status, 'application/problem+json; charset=utf-8'])
    const problem = JSON.parse(answer.text)
    expect(problem).toMatchObject({
      type: expect.stringMatching(/^urn:aftercommit:problem:/),
      title: expect.any(String),
      status,
    })
    expect(answer.text).not.toMatch(/node_modules|at .*\.js|select |insert /i)
    expect((await getUser(node, userId)).status).toBe(200)
  })

  test.each(['/products/.', '/products/..', '/products/%2E', '/feature-flags/..', '/feature-flags/%2e%2e'])(
    'GET %s, which most clients would never send, is a 400',
    async (path) => {
      const status = await new Promise((resolve, reject) => {
        const request = get({ port: node.port, path, agent: false }, (response) => {
          response.resume()
          resolve(response.statusCode)
        })
        request.on('error', reject)
      })
      expect(status).toBe(400)
    },
  )

  test('a name in another of its Unicode forms is the same name, and changes nothing', async () => {
    const { body } = await registerUser(node, 'Zoe\u0308')
    expect([body.name, body.version]).toEqual(['Zo\u00EB', 1])
    const again = await request(node, 'PATCH', `/users/${body.id}`, { body: { name: 'Zo\u00EB' } })
    expect([again.status, again.body.name, again.body.version]).toEqual([200, 'Zo\u00EB', 1])
    await request(node, 'PUT', '/feature-flags/form', { body: { enabled: true, description: 'e\u0301' } })
    const flag = await request(node, 'PUT', '/feature-flags/form', {
      body: { enabled: true, description: '\u00E9' },
    })
    expect([flag.body.description, flag.body.version]).toEqual(['\u00E9', 1])
  })

  test('an email that is taken, in whatever case, is a 409 and registers nobody', async () => {
    const body = { email: 'taken@example.org', name: 'First' }
    await request(node, 'POST', '/users', { body })
    const second = await request(node, 'POST', '/users', { body: { ...body, email: 'TAKEN@example.org' } })
    expect([second.status, second.body.type]).toEqual([409, 'urn:aftercommit:problem:email-taken'])
    const own = await request(node, 'PATCH', `/users/${userId}`, { body: { email: body.email } })
    expect(own.status).toBe(409)
  })

  test.each([
    ['"7"', 412],
    ['W/"1"', 412],
    ['"x"', 412],
    ['"01"', 412],
    ['1', 400],
    ['"1", "7"', 200],
    ['*', 200],
  ])('If-Match: %s on version 1 is a %i', async (header, status) => {
    const { body } = await registerUser(node)
    const answer = await request(node, 'PATCH', `/users/${body.id}`, {
      body: { name: 'Changed' },
      headers: { 'if-match': header },
    })
    expect(answer.status).toBe(status)
    const { version } = (await getUser(node, body.id)).body
    expect(version).toBe(status === 200 ? 2 : 1)
  })

  test('of two writers with the same If-Match one wins', async () => {
    const { body, headers } = await registerUser(node)
    const etag = headers.get('etag')!
    const answers = await Promise.all(
      ['A', 'B', 'C', 'D'].map((name) =>
        request(node, 'PATCH', `/users/${body.id}`, { body: { name }, headers: { 'if-match': etag } }),
      ),
    )
    expect(answers.map(({ status }) => status).sort()).toEqual([200, 412, 412, 412])
  })

  test('writers without If-Match all succeed, one after the other', async () => {
    const { body } = await registerUser(node)
    const answers = await Promise.all(
      ['A', 'B', 'C', 'D'].map((name) => request(node, 'PATCH', `/users/${body.id}`, { body: { name } })),
    )
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 200])
    expect((await getUser(node, body.id)).body.version).toBe(5)
  })

  test('a client that goes on sending a body that is too long reads its answer, and is not cut off', async () => {
    const half = Buffer.alloc(8_388_608, 'x')
    const socket = connect(node.port, '127.0.0.1')
    let text = ''
    let cutOff: string | undefined
    socket.on('data', (chunk) => {
      text += chunk
    })
    socket.on('error', ({ message }) => {
      cutOff = message
    })
    socket.on('close', () => {
      cutOff ??= 'closed'
    })
    const answered = (status: number) =>
      until(`an answer with ${status}`, () => {
        expect(cutOff).toBeUndefined()
        return text.includes(`HTTP/1.1 ${status} `)
      })
    try {
      socket.write(
        `POST /users HTTP/1.1\r\nHost: node\r\nContent-Type: application/json\r\nContent-Length: ${half.length * 2}\r\n\r\n`,
      )
      socket.write(half)
      await answered(413)
      expect(text).toContain('urn:aftercommit:problem:')
      socket.write(half)
      socket.write('GET /health/live HTTP/1.1\r\nHost: node\r\n\r\n')
      await answered(200)
    } finally {
      socket.destroy()
    }
  })

  test('bytes that are not HTTP get a 400 and the node lives on', async () => {
    const answer = await new Promise<string>((resolve, reject) => {
      const socket = connect(node.port, '127.0.0.1', () => socket.write('\u0016\u0003\u0001 hello\r\n\r\n'))
      let text = ''
      socket.on('data', (chunk) => {
        text += chunk
      })
      socket.on('close', () => resolve(text))
      socket.on('error', reject)
    })
    expect(answer).toMatch(/^HTTP\/1\.1 400 /)
    expect(answer).toContain('urn:aftercommit:problem:malformed-request')
    expect((await getUser(node, userId)).status).toBe(200)
  })
})
