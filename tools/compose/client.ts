/** Milliseconds until a request fails: much longer than any answer may take. */
const requestTimeoutMs = 20_000

export interface Answer {
  readonly status: number
  readonly headers: Headers
  readonly body: unknown
  /** When the request was sent, in monotonic ms, and how many ms its answer took. */
  readonly sentAt: number
  readonly tookMs: number
}

export interface User {
  readonly id: string
  readonly name: string
  readonly version: number
}

export async function send(base: string, method: string, path: string, body?: unknown): Promise<Answer> {
  const sentAt = performance.now()
  const response = await fetch(base + path, {
    method,
    signal: AbortSignal.timeout(requestTimeoutMs),
    ...(body === undefined
      ? {}
      : { headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) }),
  })
  const text = await response.text()
  const tookMs = performance.now() - sentAt
  const isJson = /[/+]json/.test(response.headers.get('Content-Type') ?? '')
  return {
    status: response.status,
    headers: response.headers,
    body: isJson ? JSON.parse(text) : text,
    sentAt,
    tookMs,
  }
}

let registered = 0

/** @throws if the answer is not a 201 */
export async function registerUser(base: string): Promise<User> {
  const email = `user-${++registered}@example.com`
  const answer = await send(base, 'POST', '/users', { email, name: nameOf(0) })
  if (answer.status !== 201) throw new Error(`POST /users: ${describe(answer)}`)
  return answer.body as User
}

export const readUser = (base: string, id: string) => send(base, 'GET', `/users/${id}`)

export const writeUser = (base: string, id: string, value: number) =>
  send(base, 'PATCH', `/users/${id}`, { name: nameOf(value) })

/** The number that the last write put into a user's name. */
export function writtenValue(answer: Answer): number {
  const name = (answer.body as Partial<User> | null)?.name
  if (answer.status !== 200 || !name) throw new Error(`a user was expected: ${describe(answer)}`)
  return Number(name.slice(1))
}

const nameOf = (value: number) => `v${value}`

export const cacheStatusOf = (answer: Answer) => answer.headers.get('Cache-Status') ?? ''

export const servedBy = (answer: Answer) => answer.headers.get('Served-By') ?? ''

export function describe({ status, body, tookMs }: Answer): string {
  return `${status} after ${Math.round(tookMs)} ms: ${JSON.stringify(body).slice(0, 300)}`
}
