import type { IncomingMessage } from 'node:http'
import { type Problem, problem } from './problem.js'

/** Header lines of one request. */
const headerLimit = 200

/**
 * What may be sent once only. Of most of these Node keeps the first and says nothing, others it joins; whoever
 * stands between the client and this node may have read another one.
 */
const singletons = new Set([
  'authorization',
  'consistency-token',
  'content-encoding',
  'content-length',
  'content-type',
  'expect',
  'host',
  'idempotency-key',
  'if-match',
  'if-modified-since',
  'if-range',
  'if-unmodified-since',
  'origin',
  'proxy-authorization',
  'range',
  'read-tier',
  'traceparent',
  'transfer-encoding',
  'x-correlation-id',
])

const hostPattern = /^(?:[A-Za-z0-9._~!$&'()*+,;=%-]+|\[[0-9A-Fa-f:.]+\])(?::\d{0,5})?$/
const charsetPattern = /;\s*charset\s*=\s*"?([^\s";]*)/gi

/**
 * Why a request cannot be answered, whatever it asks for: it is ambiguous, or in a form that this service would
 * misread. Looks at the request line and the headers.
 */
export function refusalOf(request: IncomingMessage): Problem | undefined {
  const { rawHeaders, headers } = request
  if (rawHeaders.length > headerLimit * 2) {
    return problem(431, 'headers-too-large', 'Request Header Fields Too Large', {
      detail: `A request may have ${headerLimit} header lines`,
    })
  }
  const repeated = repeatedSingleton(rawHeaders, headers)
  if (repeated) return invalidHeader(`${repeated} was sent more than once`)
  const { host } = headers
  const isHttp11 = request.httpVersion === '1.1'
  if (!isHttp11 && request.httpVersion !== '1.0') {
    return problem(505, 'http-version-unsupported', 'HTTP Version Not Supported')
  }
  if (host === undefined ? isHttp11 : !hostPattern.test(host)) {
    return invalidHeader('Host is missing, or is not a host with an optional port')
  }
  if (headers.expect !== undefined && headers.expect.toLowerCase() !== '100-continue') {
    return problem(417, 'expectation-failed', 'Expectation Failed')
  }
  const { 'transfer-encoding': transferEncoding } = headers
  if (transferEncoding === undefined && headers['content-length'] === undefined) return undefined
  if (transferEncoding !== undefined && !isHttp11) {
    return invalidHeader('Transfer-Encoding is not part of HTTP/1.0')
  }
  if (transferEncoding !== undefined && transferEncoding.toLowerCase() !== 'chunked') {
    return problem(501, 'transfer-encoding-unsupported', 'Not Implemented', {
      detail: 'Of the transfer encodings only chunked is supported',
    })
  }
  return unsupportedBody(headers)
}

function unsupportedBody(headers: IncomingMessage['headers']): Problem | undefined {
  const { 'content-encoding': encoding, 'content-type': type } = headers
  if (encoding !== undefined && encoding.toLowerCase() !== 'identity') {
    return problem(415, 'content-encoding-unsupported', 'Unsupported Media Type', {
      detail: 'A body has to be sent without Content-Encoding',
    })
  }
  if (type !== undefined && [...type.matchAll(charsetPattern)].some(([, name = '']) => !isUtf8(name))) {
    return problem(415, 'charset-unsupported', 'Unsupported Media Type', {
      detail: 'A body has to be sent in UTF-8',
    })
  }
  return undefined
}

function isUtf8(charset: string): boolean {
  return /^utf-?8$/i.test(charset)
}

function repeatedSingleton(
  rawHeaders: readonly string[],
  headers: IncomingMessage['headers'],
): string | undefined {
  let distinct = 0
  for (const _ in headers) distinct++
  // Nearly always: no name occurs twice, and there is nothing to look for.
  if (distinct * 2 === rawHeaders.length) return undefined
  const seen = new Set<string>()
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const name = rawHeaders[index]!.toLowerCase()
    if (seen.has(name) && singletons.has(name)) return name
    seen.add(name)
  }
  return undefined
}

function invalidHeader(detail: string): Problem {
  return problem(400, 'invalid-header', 'A header does not validate', { detail })
}

/** The path of a request whose target has the form `http://host/path`, which a server has to understand (RFC 9112). */
export function pathOf(target: string): string {
  if (target.startsWith('/')) return target
  const [scheme] = /^https?:\/\/[^/?#]*/i.exec(target) ?? []
  if (scheme === undefined) return target
  const path = target.slice(scheme.length)
  return path.startsWith('/') ? path : `/${path}`
}
