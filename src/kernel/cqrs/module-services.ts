import type { Clock } from '../clock.js'
import type { Logger } from '../observability/logger.js'

/** Something that lives as long as the node, such as the client of a message broker. */
export interface ModuleService {
  /**
   * Runs once Postgres can be reached, and before the node serves. The node is not ready until the promise resolves; if it
   * rejects, the node does not start.
   *
   * @param signal aborts when the node stops. `start` may not have ended by then
   */
  start?(signal: AbortSignal): Promise<void>
  /** Runs once no handler is running any more. It is not waited for longer than the node can wait. */
  stop?(): Promise<void>
}

/** Milliseconds after which the log says that a service has not started yet. */
const noticeMs = 10_000

/** Starts the services of all modules in the order of the modules, and stops them in reverse. */
export class ModuleServices {
  readonly #started: ModuleService[] = []

  constructor(
    private readonly services: readonly ModuleService[],
    private readonly clock: Clock,
    private readonly logger: Logger,
  ) {}

  /** @throws what a service throws. Those that were started before stay so, until `stop`. */
  async start(signal: AbortSignal): Promise<void> {
    for (const service of this.services) {
      if (signal.aborted) return
      this.#started.push(service)
      const starting = service.start?.(signal)
      if (starting) await this.#untilStarted(service, starting, signal)
    }
  }

  async #untilStarted(service: ModuleService, starting: Promise<void>, signal: AbortSignal): Promise<void> {
    // A service that ignores the signal must not keep the node from stopping.
    const stopped = new Promise<void>((resolve) =>
      signal.addEventListener('abort', () => resolve(), { once: true }),
    )
    const ended = Promise.race([starting, stopped])
    while (!(await this.clock.within(noticeMs, ended)))
      this.logger.warn({ service: service.constructor.name }, 'a service of a module has not started yet')
    await ended
  }

  /**
   * @param timeoutMs for each service. One that takes longer is left behind, so that the others can still stop
   */
  async stop(timeoutMs: number): Promise<void> {
    for (const service of this.#started.reverse()) {
      const name = service.constructor.name
      try {
        const stopping = Promise.resolve(service.stop?.())
        const hasStopped = await this.clock.within(timeoutMs, stopping)
        if (hasStopped) await stopping
        else {
          stopping.catch(() => {})
          this.logger.error({ service: name }, 'a service of a module did not stop in time')
        }
      } catch (error) {
        this.logger.error({ service: name, err: error }, 'a service of a module failed to stop')
      }
    }
    this.#started.length = 0
  }
}
