import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import pg from 'pg'
import type { NodeProcess } from '../../tools/local-stack/index.js'
import { getUser, registerUser } from './client.js'
import { type Cluster, startCluster } from './cluster.js'
import { sendRaw } from './raw-connection.js'

describe('a request that another reader could take otherwise is refused with a problem, and changes nothing', () => {
  let cluster: Cluster
  let node: NodeProcess
  let userId: string
  /** Users that are registered rightly. */
  let known = 1

  beforeAll(async () => {
    cluster = await startCluster({})
    node = cluster.nodes[0]!
    userId = (await registerUser(node)).body.id
  })
  afterAll(() => cluster.stop())

  const user = '{"email":"never@example.org","name":"Never"}'
  const post = (headers: string[], body: string | Buffer = user) =>
    Buffer.concat([
      Buffer.from(
        [
          'POST /users HTTP/1.1',
          'Connection: close',
          ...headers,
          `Content-Length: ${body.length}`,
          '',
          '',
        ].join('\r\n'),
      ),
      Buffer.from(body),
    ])
  const host = 'Host: node'
  const type = 'Content-Type: application/json'
  const get = (...headers: string[]) =>
    ['GET /health/live HTTP/1.1', 'Connection: close', ...headers, '', ''].join('\r\n')
  const many = (count: number) => Array.from({ length: count }, (_, n) => `x${n}: 1`)

  test.each<[string, string | Buffer, number]>([
    ['2,000 headers before the one that counts', post([host, type, ...many(2_000), 'If-Match: "999"']), 431],
    ['201 headers', get(host, ...many(199)), 431],
    ['headers of 40 kB', get(host, `x: ${'x'.repeat(40_000)}`), 431],
    ['two Host headers', get(host, 'Host: other'), 400],
    ['the same Host header twice', get(host, host), 400],
    ['no Host header', get(), 400],
    ['an empty Host header', get('Host:'), 400],
    ['a Host header that is a path', get('Host: node/users'), 400],
    ['a Host header with a space', get('Host: node other'), 400],
    ['two If-Match headers', post([host, type, 'If-Match: "1"', 'if-match: "2"']), 400],
    ['two Content-Type headers', post([host, type, 'Content-Type: text/plain']), 400],
    ['two Authorization headers', get(host, 'Authorization: Bearer a', 'Authorization: Bearer b'), 400],
    ['two Consistency-Token headers', get(host, 'Consistency-Token: a', 'Consistency-Token: b'), 400],
    ['two Idempotency-Key headers', post([host, type, 'Idempotency-Key: a', 'Idempotency-Key: b']), 400],
    ['two Content-Length headers', post([host, type, 'Content-Length: 3']), 400],
    ['Content-Length and Transfer-Encoding', post([host, type, 'Transfer-Encoding: chunked']), 400],
    ['a body said to be compressed', post([host, type, 'Content-Encoding: gzip']), 415],
    ['a body said to be compressed twice', post([host, type, 'Content-Encoding: identity, br']), 415],
    ['a body in Latin 1', post([host, 'Content-Type: application/json; charset=iso-8859-1']), 415],
    ['a body in UTF-16', post([host, 'Content-Type: application/json; charset="UTF-16"']), 415],
    [
      'a body in UTF-8 and in UTF-16',
      post([host, 'Content-Type: application/json; charset=utf-8; charset=utf-16']),
      415,
    ],
    ['a body of no type', post([host]), 415],
    ['an unknown expectation', post([host, type, 'Expect: a-miracle']), 417],
    [
      'a text that is not UTF-8',
      post([host, type], Buffer.from(user.replace('Never"', '\xff"'), 'latin1')),
      400,
    ],
    ['500,000 arrays in one another', post([host, type], '['.repeat(500_000) + ']'.repeat(500_000)), 400],
    ['a name twice', post([host, type], '{"email":"a@example.org","name":"A","name":"B"}'), 400],
    [
      'HTTP/2.0 in the form of HTTP/1.1',
      'GET /health/live HTTP/2.0\r\nHost: node\r\nConnection: close\r\n\r\n',
      505,
    ],
    ['HTTP/0.9', 'GET /health/live\r\n\r\n', 505],
    [
      'chunks in HTTP/1.0',
      'POST /users HTTP/1.0\r\nTransfer-Encoding: chunked\r\nContent-Type: application/json\r\n\r\n0\r\n\r\n',
      400,
    ],
    ['CONNECT', 'CONNECT node:80 HTTP/1.1\r\nHost: node\r\n\r\n', 501],
    ['an unknown method', 'BREW /users HTTP/1.1\r\nHost: node\r\n\r\n', 400],
    ['OPTIONS *', `OPTIONS * HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\r\n`, 404],
    [
      'a body in an unknown transfer encoding',
      `POST /users HTTP/1.1\r\n${host}\r\n${type}\r\nConnection: close\r\nTransfer-Encoding: gzip, chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n`,
      501,
    ],
  ])('%s', async (_what, bytes, status) => {
    const answer = await sendRaw(node, bytes)
    expect(answer.status).toBe(status)
    const [head = '', body = ''] = answer.text.split('\r\n\r\n')
    expect(head.toLowerCase()).toContain('content-type: application/problem+json; charset=utf-8')
    expect(JSON.parse(body)).toMatchObject({
      type: expect.stringMatching(/^urn:aftercommit:problem:/),
      title: expect.any(String),
      status,
    })
    expect(await registered()).toBe(0)
  })

  async function registered(): Promise<number> {
    const database = new pg.Client(cluster.databaseUrl)
    await database.connect()
    const { rows } = await database.query('select from user_account')
    await database.end()
    return rows.length - known
  }

  test('an If-Match behind 2,000 headers is not overlooked', async () => {
    const { body } = await registerUser(node)
    known++
    const json = '{"name":"Changed"}'
    const answer = await sendRaw(
      node,
      [
        `PATCH /users/${body.id} HTTP/1.1`,
        host,
        type,
        'Connection: close',
        ...many(2_000),
        'If-Match: "999"',
        `Content-Length: ${json.length}`,
        '',
        json,
      ].join('\r\n'),
    )
    expect(answer.status).toBe(431)
    expect((await getUser(node, body.id)).body).toEqual(body)
  })

  test.each<[string, string]>([
    ['999 unknown names', `{${Array.from({ length: 999 }, (_, n) => `"${'k'.repeat(500)}${n}":1`)}}`],
    ['90,000 unknown names', `{${Array.from({ length: 90_000 }, (_, n) => `"k${n}":1`)}}`],
    ['an unknown name of 1 MB', `{"${'k'.repeat(1_000_000)}":1}`],
    ['90,000 wrong permissions', `{"permissions":[${Array.from({ length: 90_000 }, () => '"a b"')}]}`],
    ['a permission of 1 MB', `{"permissions":["${'k'.repeat(1_000_000)}"]}`],
    ['99 wrong permissions', `{"permissions":[${Array.from({ length: 99 }, () => '"a b"')}]}`],
  ])('what is wrong is not repeated at length: %s', async (_what, body) => {
    const answer = await fetch(`${node.url}/users/${userId}/permissions`, {
      method: 'PUT',
      headers: { 'content-type': 'application/json' },
      body,
    })
    expect(answer.status).toBe(400)
    expect((await answer.text()).length).toBeLessThan(20_000)
  })

  test('a target with scheme and host means the same path', async () => {
    const answer = await sendRaw(
      node,
      `GET http://other:8080/users/${userId} HTTP/1.1\r\n${host}\r\nConnection: close\r\n\r\n`,
    )
    expect(answer.status).toBe(200)
    expect(answer.text).toContain(userId)
  })
})
