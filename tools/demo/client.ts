import { Agent, type IncomingHttpHeaders, request as open } from 'node:http'

/** Longer than any answer here should take, and longer than a fault holds one. */
const timeoutMs = 5_000

const agent = new Agent({ keepAlive: true })

export interface Answer {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly text: string
  /** Ms on `performance.now()` before the request was sent, and once all of the answer had arrived. */
  readonly startedAt: number
  readonly arrivedAt: number
}

export interface RequestOptions {
  readonly body?: unknown
  readonly token?: string | undefined
}

/**
 * Sends one request on a connection that is kept alive. A body is sent as JSON.
 *
 * @throws the Error of the connection, or an Error after 5 s of silence
 */
export function request(method: string, url: string, { body, token }: RequestOptions = {}): Promise<Answer> {
  const headers = {
    ...(body === undefined ? {} : { 'content-type': 'application/json' }),
    ...(token === undefined ? {} : { 'consistency-token': token }),
  }
  const startedAt = performance.now()
  return new Promise((resolve, reject) => {
    const sent = open(url, { method, agent, headers, timeout: timeoutMs }, (response) => {
      let text = ''
      response
        .setEncoding('utf8')
        .on('data', (chunk: string) => {
          text += chunk
        })
        .once('error', reject)
        .once('end', () => {
          const { statusCode: status = 0, headers } = response
          resolve({ status, headers, text, startedAt, arrivedAt: performance.now() })
        })
    })
    sent.once('error', reject)
    sent.once('timeout', () => sent.destroy(new Error(`no answer within ${timeoutMs / 1000} s`)))
    sent.end(body === undefined ? undefined : JSON.stringify(body))
  })
}
