import { request as httpRequest } from 'node:http'
import { connect } from 'node:net'
import { Writable } from 'node:stream'
import { text } from 'node:stream/consumers'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import type { FastifyInstance } from 'fastify'
import { pino } from 'pino'
import { DomainError } from '../../../src/kernel/domain/index.js'
import { sendRepresentation } from '../../../src/kernel/http/entity-tag.js'
import { createServer } from '../../../src/kernel/http/server.js'
import { AppliedJournal } from '../../../src/kernel/journal/applied-journal.js'
import { InvalidationRules } from '../../../src/kernel/journal/invalidation-rules.js'
import { LastInvalidations } from '../../../src/kernel/journal/last-invalidations.js'
import { oneModule } from '../../support/one-module.js'
import { until } from '../../support/until.js'

type Line = Record<string, unknown>

let app: FastifyInstance
let port: number
const lines: Line[] = []
const logger = pino(
  { level: 'debug' },
  new Writable({
    write(chunk, _encoding, done) {
      for (const line of String(chunk).trim().split('\n')) lines.push(JSON.parse(line))
      done()
    },
  }),
)

beforeAll(async () => {
  app = await createServer({
    logger,
    modules: oneModule({
      routes: () => async (routes) => {
        routes.get('/things/:id', (request, reply) => sendRepresentation(request, reply, { version: 7 }))
        routes.delete('/things/:id', async () => {
          throw new DomainError('not-found', 'thing-not-found', 'There is no such thing')
        })
        routes.post('/things/paint', async () => ({ painted: 1 }))
        routes.post('/paint', async () => ({ painted: 1 }))
        routes.put('/broken', async () => {
          throw new Error('a bug')
        })
      },
    }),
    routeContext: { commandBus: undefined as never, queryBus: undefined as never },
    consistency: {
      check: undefined as never,
      applied: new AppliedJournal(new LastInvalidations(256), new InvalidationRules(), logger),
      tierHeader: false,
      isServing: () => true,
    },
    health: { report: () => ({ status: 'starting' }) as never },
    connections: { maxConnections: 10, answerTimeoutMs: 10_000, closeTimeoutMs: 100 },
  })
  await app.listen({ host: '127.0.0.1', port: 0 })
  ;({ port } = app.server.address() as { port: number })
})
afterAll(() => app.close())

async function send(method: string, path: string, headers: Record<string, string> = {}, body = '') {
  const sent = httpRequest({ port, method, path, headers, agent: false })
  const response = await new Promise<import('node:http').IncomingMessage>((resolve, reject) =>
    sent.on('response', resolve).on('error', reject).end(body),
  )
  return { status: response.statusCode, headers: response.headers, body: await text(response) }
}

describe('a path that has other methods', () => {
  test('answers 405 with a problem, and names them in Allow', async () => {
    const answer = await send('PATCH', '/things/1')
    expect([answer.status, answer.headers.allow]).toEqual([405, 'DELETE, GET, HEAD, OPTIONS'])
    expect(answer.headers['content-type']).toBe('application/problem+json; charset=utf-8')
    expect(JSON.parse(answer.body)).toEqual({
      type: 'urn:aftercommit:problem:method-not-allowed',
      title: 'Method Not Allowed',
      status: 405,
      detail: 'This path has DELETE, GET, HEAD, OPTIONS',
    })
  })

  test('answers so whatever the body is, which is not read', async () => {
    const answer = await send('PATCH', '/things/1', { 'content-type': 'text/csv' }, 'a,b')
    expect(answer.status).toBe(405)
    expect((await send('PUT', '/health/live', { 'content-type': 'application/json' }, '{')).status).toBe(405)
  })

  test('names those of every route that matches', async () => {
    const answer = await send('PUT', '/things/paint?x=1')
    expect([answer.status, answer.headers.allow]).toEqual([405, 'DELETE, GET, HEAD, OPTIONS, POST'])
  })

  test('answers so to HEAD, without a body, where there is no GET, and to methods that no route has', async () => {
    const head = await send('HEAD', '/paint')
    expect([head.status, head.headers.allow, head.body]).toEqual([405, 'OPTIONS, POST', ''])
    const trace = await send('TRACE', '/things/1')
    expect([trace.status, trace.headers.allow]).toEqual([405, 'DELETE, GET, HEAD, OPTIONS'])
    const propfind = await send('PROPFIND', '/things/1')
    expect([propfind.status, propfind.headers.allow]).toEqual([405, 'DELETE, GET, HEAD, OPTIONS'])
  })

  test('lists them to OPTIONS', async () => {
    const answer = await send('OPTIONS', '/things/1')
    expect([answer.status, answer.headers.allow, answer.body]).toEqual([
      204,
      'DELETE, GET, HEAD, OPTIONS',
      '',
    ])
  })
})

describe('a path that no route has', () => {
  test.each(['GET', 'POST', 'OPTIONS', 'HEAD'])('answers 404 to %s, without Allow', async (method) => {
    const answer = await send(method, '/nothing')
    expect([answer.status, answer.headers.allow]).toEqual([404, undefined])
    expect(answer.headers['content-type']).toBe('application/problem+json; charset=utf-8')
  })

  test('answers 404 to GET as well where a folder has no such file', async () => {
    const answer = await send('GET', '/docs/static/nothing.js')
    expect([answer.status, answer.headers.allow]).toEqual([404, undefined])
  })
})

describe('GET /', () => {
  test('leads a browser to the documentation', async () => {
    const accept = 'text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8'
    const { status, headers } = await send('GET', '/', { accept })
    expect([status, headers.location, headers.vary]).toEqual([302, '/docs', 'Accept'])
  })

  test.each(['application/json', '*/*'])('is a problem for a client that accepts %s', async (accept) => {
    const { status, headers } = await send('GET', '/', { accept })
    expect([status, headers.vary]).toEqual([404, 'Accept'])
    expect(headers['content-type']).toBe('application/problem+json; charset=utf-8')
  })
})

test('HEAD answers with the header fields of GET, and without a body', async () => {
  const get = await send('GET', '/things/1')
  const head = await send('HEAD', '/things/1')
  const fields = ({ headers }: typeof get) => ({ ...headers, date: undefined })
  expect(head.headers['cache-status']).toBe('aftercommit-l1; fwd=bypass')
  expect([head.status, fields(head), head.body]).toEqual([200, fields(get), ''])
  expect((await send('HEAD', '/things/1', { 'if-none-match': '"7"' })).status).toBe(304)
})

describe('the log has one line for each request', () => {
  async function linesOf(method: string, path: string): Promise<Line[]> {
    lines.length = 0
    await send(method, path)
    await until('it is written', () => lines.some(({ msg }) => msg === 'request'))
    return lines.filter(({ msg }) => msg === 'request')
  }
  const debug = 20
  const info = 30

  test.each([
    ['GET', '/things/1', { level: debug, route: '/things/:id', status: 200 }],
    ['DELETE', '/things/1', { level: info, route: '/things/:id', status: 404 }],
    ['PATCH', '/things/1', { level: info, path: '/things/1', status: 405 }],
    ['GET', '/nothing?x=1', { level: info, path: '/nothing', status: 404 }],
    ['GET', '/%zz', { level: info, path: '/%zz', status: 400 }],
    ['PUT', '/broken', { level: info, route: '/broken', status: 500 }],
    // A probe would fill the log while a node starts.
    ['GET', '/health/ready', { level: debug, route: '/health/ready', status: 503 }],
  ])('%s %s: method, route, status, time and id', async (method, path, expected) => {
    expect(await linesOf(method, path)).toEqual([
      expect.objectContaining({
        ...expected,
        method,
        component: 'http',
        request: expect.stringMatching(/^req-/),
        ms: expect.any(Number),
      }),
    ])
  })

  test('that cannot be parsed', async () => {
    lines.length = 0
    const socket = connect(port, '127.0.0.1', () => socket.end('GET / HTP/1.1\r\n\r\n'))
    expect(await text(socket)).toMatch(/^HTTP\/1\.1 400 /)
    expect(lines).toEqual([
      expect.objectContaining({ level: info, status: 400, msg: 'a request could not be read' }),
    ])
  })
})
