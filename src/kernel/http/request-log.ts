import { type FastifyReply, type FastifyRequest, LogController } from 'fastify'
import type { Logger } from '../observability/logger.js'

declare module 'fastify' {
  interface FastifyContextConfig {
    /** With `debug`, also answers with an error are logged at that level only. For what is asked every few seconds. */
    requestLogLevel?: 'debug'
  }
}

/**
 * Writes one line for each answered request: at the level `info` if the answer is an error, and at `debug` otherwise. At the
 * usual level `info`, a request that succeeds costs one comparison.
 */
export class RequestLog extends LogController {
  constructor(private readonly logger: Logger) {
    // Fastify's own lines for a request would say the same twice.
    super({ disableRequestLogging: true })
  }

  override requestCompleted(error: Error | null | undefined, request: FastifyRequest, reply: FastifyReply) {
    const { statusCode: status } = reply
    // First of all, as Fastify makes a new object each time that it is asked for the options of a route.
    if (!this.logger.isLevelEnabled(status < 400 ? 'debug' : 'info')) return
    const { url: route, config } = request.routeOptions
    const level = status >= 400 && config.requestLogLevel !== 'debug' ? 'info' : 'debug'
    if (!this.logger.isLevelEnabled(level)) return
    this.logger[level](
      {
        request: request.id,
        method: request.method,
        // The route and not the path, because ids and names in a path would make each line another one.
        ...(route === undefined ? { path: request.url.split('?', 1)[0]?.slice(0, 200) } : { route }),
        status,
        ms: Math.round(reply.elapsedTime * 100) / 100,
        ...(error && { err: error }),
      },
      'request',
    )
  }

  /** For what did not become a request, and so has no route and no id. */
  unreadable(status: number, reason: string | undefined): void {
    this.logger.info({ status, reason }, 'a request could not be read')
  }
}
