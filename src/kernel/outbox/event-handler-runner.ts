import type { Clock } from '../clock.js'
import type { Registered } from '../cqrs/handler-registry.js'
import type { EventHandler, EventHandlerDeclaration } from '../cqrs/handlers.js'
import type { DomainEventClass } from '../domain/domain-event.js'
import type { Logger } from '../observability/logger.js'
import { inScope } from '../persistence/transaction-scope.js'
import type { UnitOfWork } from '../persistence/unit-of-work.js'
import type { Dispatcher } from './dispatcher.js'
import type { Delivery, EventDeliveries } from './event-deliveries.js'

/** Events turned into deliveries, and deliveries claimed, at a time. */
const fanOutSize = 10_000
const claimSize = 10

/** Attempts before a delivery is a dead letter; between them, ms that double from the first to the longest. */
const maximumAttempts = 10
const firstRetryMs = 250
const longestRetryMs = 60_000

/** How long, in ms, a claim holds: longer than any handler should take. */
const claimMs = 60_000

/** Without a wake, how often in ms a handler looks for retries that have come due and events of other nodes. */
const pollMs = 1_000

class ClaimLostError extends Error {}

/**
 * Runs one event handler on this node. Each handler has a loop of its own, so that a slow or failing one holds
 * up no other, and none of them a position.
 */
export class EventHandlerRunner {
  readonly #stop = new AbortController()
  #wake = new AbortController()
  #loop: Promise<void> | undefined

  constructor(
    private readonly registered: Registered<EventHandlerDeclaration>,
    private readonly deliveries: EventDeliveries,
    private readonly unitOfWork: UnitOfWork,
    private readonly dispatcher: Dispatcher,
    private readonly clock: Clock,
    private readonly logger: Logger,
  ) {}

  start(): void {
    this.#loop = this.#run()
  }

  /**
   * There are new events: look now, unless all of them are known and none is for this handler. Looking costs Postgres
   * three statements; what is not looked for now is when the handler next looks by itself.
   */
  wake(events?: readonly { readonly type: string }[]): void {
    const { eventName } = this.registered.declaration.event
    if (!events || events.some(({ type }) => type === eventName)) this.#wake.abort()
  }

  /** Lets the delivery under way end, and leaves the rest to other nodes. */
  async stop(): Promise<void> {
    this.#stop.abort()
    this.#wake.abort()
    await this.#loop
  }

  async #run(): Promise<void> {
    const { name, event } = this.registered.declaration
    while (!this.#stop.signal.aborted) {
      this.#wake = new AbortController()
      let claimed = 0
      try {
        await this.deliveries.fanOut(name, event.eventName, fanOutSize)
        const batch = await this.deliveries.claim(name, 'new', claimSize, claimMs)
        claimed = batch.length
        await this.#deliverAll(name, batch)
        if (this.#stop.signal.aborted) return
        const [retried] = await this.deliveries.claim(name, 'retried', 1, claimMs)
        if (retried) {
          await this.#deliver(retried)
          // There may be more of them.
          continue
        }
      } catch (error) {
        this.logger.warn({ err: error, handler: name }, 'the event handler’s deliveries cannot be reached')
      }
      if (claimed < claimSize && !this.#stop.signal.aborted) {
        // Resolves at once if a wake came while the loop was busy.
        await this.clock.sleep(pollMs * (0.75 + Math.random() / 2), this.#wake.signal)
      }
    }
  }

  /** Claims that a slow handler, or stopping, leaves unrun are given back before they run out. */
  async #deliverAll(handler: string, batch: readonly Delivery[]): Promise<void> {
    const claimedAt = this.clock.now()
    for (const [index, delivery] of batch.entries()) {
      const late = this.clock.now() - claimedAt > claimMs / 2
      if (index > 0 && (late || this.#stop.signal.aborted)) {
        return this.deliveries.release(handler, batch.slice(index))
      }
      await this.#deliver(delivery)
    }
  }

  async #deliver(delivery: Delivery): Promise<void> {
    const handler = this.registered.handler as EventHandler<DomainEventClass>
    if (delivery.attempt > maximumAttempts) {
      // Every claim was counted and none of them ended: the event ends the process that handles it.
      this.logger.error(
        { handler: delivery.handler, position: delivery.position },
        'an event became a dead letter',
      )
      return this.deliveries.fail(delivery, 'its handler was begun and never ended', undefined)
    }
    let hasEvents: boolean
    try {
      const payload = this.registered.declaration.event.schema.parse(delivery.payload)
      const committed = await this.unitOfWork.run(async () => {
        await handler.handle(payload, { position: delivery.position, attempt: delivery.attempt })
        const completed = await inScope(({ manager }) => this.deliveries.complete(manager, delivery))
        if (!completed) throw new ClaimLostError()
      })
      hasEvents = committed.hasEvents
    } catch (error) {
      if (error instanceof ClaimLostError) return
      return this.#fail(delivery, error)
    }
    if (!hasEvents) return
    // Handled and committed: where this fails, the next check of any node gives the events their positions.
    await this.dispatcher
      .dispatch()
      .catch((error: unknown) =>
        this.logger.warn({ err: error }, 'the dispatch after an event handler failed'),
      )
  }

  async #fail(delivery: Delivery, error: unknown): Promise<void> {
    const last = delivery.attempt >= maximumAttempts
    const retryMs = Math.min(longestRetryMs, firstRetryMs * 2 ** (delivery.attempt - 1))
    const context = {
      err: error,
      handler: delivery.handler,
      position: delivery.position,
      attempt: delivery.attempt,
    }
    if (last) this.logger.error(context, 'an event became a dead letter')
    else this.logger.warn({ ...context, retryMs }, 'an event handler failed and will be tried again')
    await this.deliveries.fail(delivery, String(error), last ? undefined : retryMs)
  }
}
