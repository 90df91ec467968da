import { createServer as createHttpServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import swagger from '@fastify/swagger'
import swaggerUi from '@fastify/swagger-ui'
import fastify, {
  type FastifyBaseLogger,
  type FastifyError,
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
} from 'fastify'
import { validatorCompiler } from 'fastify-type-provider-zod'
import type { RouteContext, ServiceModule } from '../cqrs/module.js'
import type { Logger } from '../observability/logger.js'
import { AllowedMethods } from './allowed-methods.js'
import { bodyLimit, type ConnectionLimits, Connections } from './connections.js'
import { addConsistency, type ConsistencyPluginOptions } from './consistency-plugin.js'
import { addHealth, type HealthReporter } from './health.js'
import { parseJson } from './json-body.js'
import { markModuleRoutes, openApiOptions } from './openapi.js'
import { type Problem, problem, problemOf } from './problem.js'
import { RequestLog } from './request-log.js'
import { pathOf, refusalOf } from './request-rules.js'

/** The most bytes of a request's path with its query. */
const pathLimit = 16_384
/** The most bytes of request line and headers. It is above the path's limit, so that a long path gets an error of its own. */
const headerLimit = 32_768
const routerOptions = { maxParamLength: pathLimit }
/** Milliseconds within which a client must send its request. For as long, a body that is too long is read and dropped. */
const requestTimeout = 60_000
/**
 * Milliseconds for which an idle connection stays open. That is more than the usual 60 s of a load balancer, so that the
 * load balancer closes first. Otherwise it could send a request on a connection that this node is closing.
 */
const keepAliveTimeout = 72_000

export interface ServerOptions {
  readonly logger: Logger
  readonly modules: readonly ServiceModule[]
  readonly routeContext: RouteContext
  readonly consistency: ConsistencyPluginOptions
  readonly health: HealthReporter
  readonly connections: ConnectionLimits
}

/** Creates the HTTP server of one node, which does not listen yet. */
export async function createServer(options: ServerOptions): Promise<FastifyInstance> {
  const logger: FastifyBaseLogger = options.logger.child({ component: 'http' }, { level: 'warn' })
  const server = createHttpServer({
    maxHeaderSize: headerLimit,
    requestTimeout,
    keepAliveTimeout,
    // `refusalOf` checks the header, and answers with a problem.
    requireHostHeader: false,
  })
  // By default Node silently drops headers after the 2,000th.
  server.maxHeadersCount = 0
  const requestLog = new RequestLog(options.logger.child({ component: 'http' }))
  const connections = new Connections(server, options.connections, options.logger)
  const app: FastifyInstance = fastify({
    loggerInstance: logger,
    logController: requestLog,
    bodyLimit,
    routerOptions,
    serverFactory: (handle) => {
      const admit = (request: IncomingMessage, response: ServerResponse) => {
        request.url = pathOf(request.url ?? '/')
        connections.admit(request, response, handle)
      }
      // Without a listener, Node itself would answer an unknown expectation, and not with a problem.
      return server.on('request', admit).on('checkExpectation', admit)
    },
    clientErrorHandler: (error, socket) => answerUnreadable(error, socket, requestLog),
    // Fastify's own answer would not be a problem. The routes of the modules refuse requests while the node stops.
    return503OnClosing: false,
    frameworkErrors: (error, request, reply) => {
      sendProblem(reply as FastifyReply, problemOf(error))
      // Fastify would not call it for a path that it cannot decode.
      requestLog.requestCompleted(null, request as FastifyRequest, reply as FastifyReply)
    },
  })
  server.on('connect', (_request, socket) => {
    requestLog.unreadable(501, 'CONNECT')
    endWith(socket as Socket, problem(501, 'connect-unsupported', 'Not Implemented')).destroySoon()
  })
  const allowed = new AllowedMethods(app, routerOptions)
  app.addHook('preClose', (done) => {
    connections.close()
    done()
  })
  app.setValidatorCompiler(validatorCompiler)
  // Response schemas are documentation only: checking every answer against them would cost more than a cache hit.
  app.setSerializerCompiler(() => (data) => JSON.stringify(data))

  app.setErrorHandler((error: FastifyError, request, reply) => {
    const answer = problemOf(error)
    if (answer.status >= 500 && answer.retryAfter === undefined) {
      options.logger.error(
        { err: error, method: request.method, url: request.url.slice(0, 200) },
        'a request failed',
      )
    }
    if (answer.status === 413) readToTheEnd(request, reply)
    sendProblem(reply, answer)
  })
  app.setNotFoundHandler(answerUnrouted)
  // All hooks use callbacks. An answer from memory takes so little time that each promise on its way would be noticeable.
  app.addHook('onRequest', (request, reply, done) => {
    const refusal =
      request.url.length > pathLimit
        ? problem(414, 'uri-too-long', `The path is longer than ${pathLimit} bytes`)
        : refusalOf(request.raw)
    if (refusal) sendProblem(reply, refusal)
    // Already here and not in the handler, so that a body is neither read nor refused first.
    else if (request.is404) answerUnrouted(request, reply)
    else done()
  })
  app.addHook('onSend', (request, _reply, payload, done) => {
    if (typeof payload === 'string') connections.countAnswer(request.raw.socket, payload.length)
    done(null, payload)
  })

  function answerUnrouted(request: FastifyRequest, reply: FastifyReply): void {
    const [path] = request.url.split('?', 1)
    if (path === '/' && /^(?:GET|HEAD)$/.test(request.method)) {
      reply.header('Vary', 'Accept')
      if (request.headers.accept?.includes('text/html')) return void reply.redirect('/docs')
    }
    const methods = allowed.of(request.url)
    // Its own method is among them if a route has found nothing, such as a file.
    const isOwn = request.method !== 'OPTIONS' && methods.includes(request.method)
    if (methods.length === 0 || isOwn) {
      const title = `There is no ${request.method} ${request.url.slice(0, 200)}`
      return void sendProblem(reply, problem(404, 'no-such-route', title))
    }
    const list = methods.join(', ')
    reply.header('Allow', list)
    if (request.method === 'OPTIONS') return void reply.code(204).send()
    const detail = `This path has ${list}`
    sendProblem(reply, problem(405, 'method-not-allowed', 'Method Not Allowed', { detail }))
  }

  app.removeContentTypeParser('application/json')
  app.addContentTypeParser('application/json', { parseAs: 'buffer' }, (_request, body, done) => {
    try {
      done(null, parseJson(body as Buffer))
    } catch (error) {
      done(error as Error)
    }
  })

  await app.register(
    swagger,
    openApiOptions({
      title: 'Aftercommit',
      version: '0.1.0',
      description: 'A sample service: users, feature flags and prices, cached and never stale.',
    }),
  )
  await app.register(swaggerUi, { routePrefix: '/docs' })
  app.get('/openapi.json', { schema: { hide: true } }, async () => app.swagger())
  addHealth(app, options.health)
  await app.register(async (scope) => {
    addConsistency(scope, options.consistency)
    markModuleRoutes(scope)
    for (const { routes } of options.modules) if (routes) await scope.register(routes(options.routeContext))
  })
  return app
}

interface UnreadableError {
  readonly code?: string
  /** The bytes in which the error occurred: a Buffer, although Fastify's types say otherwise. */
  readonly rawPacket?: unknown
}

interface Reply {
  code(status: number): Reply
  header(name: string, value: string | number): Reply
  send(body: unknown): Reply
}

function sendProblem<R extends Reply>(reply: R, { retryAfter, ...body }: Problem): R {
  if (retryAfter !== undefined) reply.header('Retry-After', retryAfter)
  return reply
    .code(body.status)
    .header('Content-Type', 'application/problem+json; charset=utf-8')
    .send(JSON.stringify(body)) as R
}

/**
 * Reads and drops the rest of a body. If the connection were closed while the body still arrives, it would be reset. The
 * reset can overtake the answer, and the client would see a broken pipe instead of the reason.
 */
function readToTheEnd(request: FastifyRequest, reply: FastifyReply): void {
  reply.removeHeader('Connection')
  request.raw.resume()
}

/** Answers what Node's parser could not read. It never becomes a request, so the answer goes directly to the socket. */
function answerUnreadable(error: UnreadableError, socket: Socket, log: RequestLog): void {
  if (error.code === 'ECONNRESET' || !socket.writable) return void socket.destroy()
  const answer = unreadable(error)
  log.unreadable(answer.status, error.code)
  endWith(socket, answer)
}

function endWith(socket: Socket, body: Problem): Socket {
  const json = JSON.stringify(body)
  return socket.end(
    `HTTP/1.1 ${body.status} ${body.title}\r\nContent-Type: application/problem+json; charset=utf-8\r\n` +
      `Content-Length: ${Buffer.byteLength(json)}\r\nConnection: close\r\n\r\n${json}`,
  )
}

function unreadable(error: UnreadableError): Problem {
  if (error.code === 'HPE_HEADER_OVERFLOW') {
    const start = Buffer.isBuffer(error.rawPacket) ? error.rawPacket.subarray(0, pathLimit) : Buffer.alloc(0)
    const inPath =
      start.length === pathLimit && /^[A-Z]+ /.test(start.toString('latin1', 0, 16)) && !start.includes('\n')
    return inPath
      ? problem(414, 'uri-too-long', 'URI Too Long')
      : problem(431, 'headers-too-large', 'Request Header Fields Too Large')
  }
  if (error.code === 'ERR_HTTP_REQUEST_TIMEOUT') return problem(408, 'request-timeout', 'Request Timeout')
  return problem(400, 'malformed-request', 'Bad Request')
}
