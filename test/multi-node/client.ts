import type { NodeProcess } from '../../tools/local-stack/index.js'
import { until } from '../support/until.js'

export interface Answer<Body = Record<string, unknown>> {
  readonly status: number
  readonly headers: Headers
  readonly body: Body
  /** Ms on `performance.now()` when the request was sent, and when the answer had arrived. */
  readonly sentAt: number
  readonly arrivedAt: number
}

export interface User {
  readonly id: string
  readonly name: string
  readonly email: string
  readonly permissions: string[]
  readonly version: number
}

/** Sends one request; a body is sent as JSON. */
export async function request<Body = Record<string, unknown>>(
  node: Pick<NodeProcess, 'url'>,
  method: string,
  path: string,
  { body, headers = {} }: { body?: unknown; headers?: Record<string, string> } = {},
): Promise<Answer<Body>> {
  const sentAt = performance.now()
  const response = await fetch(node.url + path, {
    method,
    headers: { ...(body === undefined ? {} : { 'content-type': 'application/json' }), ...headers },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  })
  const text = await response.text()
  const parsed: unknown = text === '' ? undefined : JSON.parse(text)
  return {
    status: response.status,
    headers: response.headers,
    body: parsed as Body,
    sentAt,
    arrivedAt: performance.now(),
  }
}

let registered = 0

export async function registerUser(node: Pick<NodeProcess, 'url'>, name = 'Ada'): Promise<Answer<User>> {
  const email = `user-${process.pid}-${registered++}@example.org`
  const answer = await request<User>(node, 'POST', '/users', { body: { email, name } })
  if (answer.status !== 201) throw new Error(`POST /users: ${answer.status} ${JSON.stringify(answer.body)}`)
  return answer
}

export function getUser(
  node: Pick<NodeProcess, 'url'>,
  id: string,
  headers?: Record<string, string>,
): Promise<Answer<User>> {
  return request<User>(node, 'GET', `/users/${id}`, headers ? { headers } : {})
}

export async function renameUser(
  node: Pick<NodeProcess, 'url'>,
  id: string,
  name: string,
): Promise<Answer<User>> {
  const answer = await request<User>(node, 'PATCH', `/users/${id}`, { body: { name } })
  if (answer.status !== 200) throw new Error(`PATCH: ${answer.status} ${JSON.stringify(answer.body)}`)
  return answer
}

/** Reads until the answer comes from memory, so that a later old answer could only be a stale one. */
export async function warm(node: NodeProcess, id: string): Promise<void> {
  await until(`${node.name} has ${id} in L1`, async () => {
    const answer = await getUser(node, id)
    return answer.headers.get('cache-status') === 'aftercommit-l1; hit'
  })
}

export { until } from '../support/until.js'

export const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))
