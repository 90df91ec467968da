import type { IncomingMessage } from 'node:http'
import { type Problem, problem } from './problem.js'

/** The most header lines of one request. */
const headerLimit = 200

/**
 * Headers that a request may have only once. If one comes twice, Node silently keeps the first or joins the two, and a proxy
 * between the client and this node may have acted on the other one.
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
 * Returns why a request is refused before it reaches any route: its request line or its headers are ambiguous, or in a form
 * that this service does not support. Undefined if it is not refused.
 */
export function refusalOf(request: IncomingMessage): Problem | undefined {
  const { rawHeaders, headers } = request
  if (rawHeaders.length > headerLimit * 2) {
    return problem(431, 'headers-too-large', 'Request Header Fields Too Large', {
      detail: `A request may have at most ${headerLimit} header lines`,
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
    return invalidHeader('Host is missing, or is not a host name with an optional port')
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
      detail: 'The only supported transfer encoding is chunked',
    })
  }
  return unsupportedBody(headers)
}

function unsupportedBody(headers: IncomingMessage['headers']): Problem | undefined {
  const { 'content-encoding': encoding, 'content-type': type } = headers
  if (encoding !== undefined && encoding.toLowerCase() !== 'identity') {
    return problem(415, 'content-encoding-unsupported', 'Unsupported Media Type', {
      detail: 'A body must be sent without Content-Encoding',
    })
  }
  if (type !== undefined && [...type.matchAll(charsetPattern)].some(([, name = '']) => !isUtf8(name))) {
    return problem(415, 'charset-unsupported', 'Unsupported Media Type', {
      detail: 'A body must be sent in UTF-8',
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
  // This is the usual case: no name occurs twice, so nothing has to be searched.
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

/** Returns the path of a request target. RFC 9112 requires that a server also accepts the form `http://host/path`. */
export function pathOf(target: string): string {
  if (target.startsWith('/')) return target
  const [scheme] = /^https?:\/\/[^/?#]*/i.exec(target) ?? []
  if (scheme === undefined) return target
  const path = target.slice(scheme.length)
  return path.startsWith('/') ? path : `/${path}`
}
