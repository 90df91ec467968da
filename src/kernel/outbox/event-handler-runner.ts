import type { Clock } from '../clock.js'
import type { Registered } from '../cqrs/handler-registry.js'
import type { EventHandler, EventHandlerDeclaration } from '../cqrs/handlers.js'
import type { DomainEventClass } from '../domain/domain-event.js'
import type { Logger } from '../observability/logger.js'
import { inScope } from '../persistence/transaction-scope.js'
import type { Committed, CommittedEach, UnitOfWork } from '../persistence/unit-of-work.js'
import type { Dispatcher } from './dispatcher.js'
import type { Delivery, EventDeliveries, NextDeliveries } from './event-deliveries.js'

/** How many positions a handler's cursor passes in one statement at most. */
const scanSize = 10_000

/**
 * How many events are claimed together. Each batch costs a flush to disk, so the size doubles while batches take less than
 * half of `batchMs`. A slow handler gets small batches, so that other nodes can run the rest.
 */
const firstBatchSize = 10
const largestBatchSize = 2_000

/**
 * After so many ms a batch commits instead of starting another event. So this limits how long rows stay locked, and how much
 * of what handlers do outside of Postgres a crash can repeat.
 */
const batchMs = 100

/** After so many attempts a delivery becomes a dead letter. The pause between two attempts doubles, up to the longest. */
const maximumAttempts = 10
const firstRetryMs = 250
const longestRetryMs = 60_000

/** How long a claim is valid, in ms. No handler should take as long. */
const claimMs = 60_000

/** How often a handler that nobody wakes looks for retries that are due and for events of other nodes, in ms. */
const pollMs = 1_000

class ClaimLostError extends Error {}

/** Claimed deliveries, and the monotonic ms before the claim was sent. Its validity counts from then. */
interface Batch extends NextDeliveries {
  readonly claimedAt: number
}

/**
 * Runs one event handler on this node. Each handler has its own loop, so that a slow or failing handler delays neither other
 * handlers nor the numbering.
 */
export class EventHandlerRunner {
  readonly #stop = new AbortController()
  #wake = new AbortController()
  #loop: Promise<void> | undefined
  #batchSize = firstBatchSize

  constructor(
    private readonly registered: Registered<EventHandlerDeclaration>,
    private readonly deliveries: EventDeliveries,
    private readonly unitOfWork: UnitOfWork,
    private readonly dispatcher: Dispatcher,
    private readonly clock: Clock,
    private readonly logger: Logger,
  ) {}

  get #name(): string {
    return this.registered.declaration.name
  }

  start(): void {
    this.#loop = this.#run()
  }

  /**
   * Makes the handler look for events at once, unless `events` says that none of the new ones is for it. Each look costs
   * Postgres three statements. The handler also looks by itself, every second or so.
   */
  wake(events?: readonly { readonly type: string }[]): void {
    const { eventName } = this.registered.declaration.event
    if (!events || events.some(({ type }) => type === eventName)) this.#wake.abort()
  }

  /** Waits for the delivery under way, and leaves the rest to other nodes. */
  async stop(): Promise<void> {
    this.#stop.abort()
    this.#wake.abort()
    await this.#loop
  }

  async #run(): Promise<void> {
    let ahead: Promise<Batch> | undefined
    while (!this.#stop.signal.aborted) {
      this.#wake = new AbortController()
      let more = false
      try {
        const batch = await (ahead ?? this.#claimNext())
        ahead = undefined
        more = batch.behind
        // A quick handler claims its next batch while this one runs. A slow one leaves it, because another node could run it now.
        if (more && this.#batchSize > firstBatchSize) ahead = this.#claimNext()
        // The error is thrown where the promise is awaited.
        ahead?.catch(() => {})
        await this.#deliverAll(batch)
        if (this.#stop.signal.aborted) break
        more = (await this.#deliverDue()) || more
      } catch (error) {
        this.logger.warn(
          { err: error, handler: this.#name },
          'an event handler cannot read or write its deliveries',
        )
        ahead = await this.#giveBack(ahead)
        more = false
      }
      if (!more && !this.#stop.signal.aborted) {
        // Resolves at once if `wake` was called while the loop was busy.
        await this.clock.sleep(pollMs * (0.75 + Math.random() / 2), this.#wake.signal)
      }
    }
    await this.#giveBack(ahead)
  }

  async #claimNext(): Promise<Batch> {
    const claimedAt = this.clock.now()
    const { eventName } = this.registered.declaration.event
    const next = await this.deliveries.claimNext(this.#name, eventName, this.#batchSize, scanSize, claimMs)
    return { ...next, claimedAt }
  }

  /** Gives back a claim that will not be run. If this fails, the claim ends by itself. */
  async #giveBack(ahead: Promise<Batch> | undefined): Promise<undefined> {
    if (!ahead) return
    try {
      const { deliveries } = await ahead
      if (deliveries.length > 0) await this.deliveries.release(this.#name, deliveries)
    } catch (error) {
      this.logger.warn({ err: error, handler: this.#name }, 'a claim could not be given back')
    }
  }

  /** @returns whether there may be more deliveries that are due */
  async #deliverDue(): Promise<boolean> {
    const claimedAt = this.clock.now()
    const deliveries = await this.deliveries.claim(this.#name, 'new', this.#batchSize, claimMs)
    await this.#deliverAll({ deliveries, behind: false, claimedAt })
    if (this.#stop.signal.aborted) return false
    const [retried] = await this.deliveries.claim(this.#name, 'retried', 1, claimMs)
    if (retried) await this.#deliver(retried)
    return deliveries.length > 0 || retried !== undefined
  }

  /** Gives deliveries back before their claim ends, if the handler is too slow to run them or the node stops. */
  async #deliverAll({ deliveries, claimedAt }: Batch): Promise<void> {
    let rest = deliveries
    let isFirst = true
    while (rest.length > 0) {
      const late = this.clock.now() - claimedAt > claimMs / 2
      if (late || (this.#stop.signal.aborted && !isFirst)) return this.deliveries.release(this.#name, rest)
      isFirst = false
      const startedAt = this.clock.now()
      const count = rest.length === 1 ? 1 : await this.#deliverTogether(rest)
      if (rest.length === 1) await this.#deliver(rest[0] as Delivery)
      this.#adaptBatchSize(count, this.clock.now() - startedAt)
      rest = rest.slice(count)
    }
  }

  #adaptBatchSize(count: number, took: number): void {
    if (took > batchMs) this.#batchSize = Math.max(1, Math.floor((count * batchMs) / took))
    else if (count >= this.#batchSize && took < batchMs / 2)
      this.#batchSize = Math.min(largestBatchSize, this.#batchSize * 2)
  }

  /**
   * Runs events in one transaction, until `batchMs` is over. All are at their first attempt. An event whose handler fails is
   * rolled back alone and tried again later. If the transaction itself fails, each event runs again in its own transaction.
   *
   * @returns how many events it has run
   */
  async #deliverTogether(deliveries: readonly Delivery[]): Promise<number> {
    const { clock } = this
    const { signal } = this.#stop
    const startedAt = clock.now()
    const begun: Delivery[] = []
    function* whileInTime() {
      for (const delivery of deliveries) {
        if (begun.length > 0 && (signal.aborted || clock.now() - startedAt > batchMs)) return
        begun.push(delivery)
        yield delivery
      }
    }
    let committed: CommittedEach<Delivery>
    try {
      committed = await this.unitOfWork.runEach(
        whileInTime(),
        (delivery) => this.#handle(delivery),
        async (manager, failures) => {
          const handled = begun.filter((delivery) => !failures.has(delivery))
          if (!(await this.deliveries.complete(manager, handled))) throw new ClaimLostError()
        },
      )
    } catch (error) {
      this.logger.debug({ err: error, handler: this.#name }, 'a batch of events is run one by one')
      for (const [index, delivery] of begun.entries()) {
        if (signal.aborted && index > 0) {
          await this.deliveries.release(this.#name, begun.slice(index))
          break
        }
        await this.#deliver(delivery)
      }
      return begun.length
    }
    for (const [delivery, error] of committed.failures) await this.#fail(delivery, error)
    await this.#dispatch(committed)
    return begun.length
  }

  async #handle({ payload, position, attempt }: Delivery): Promise<void> {
    const handler = this.registered.handler as EventHandler<DomainEventClass>
    const parsed = this.registered.declaration.event.schema.parse(payload)
    await handler.handle(parsed as never, { position, attempt })
  }

  async #deliver(delivery: Delivery): Promise<void> {
    if (delivery.attempt > maximumAttempts) {
      // Every attempt was counted and none of them ended, so this event ends the process that handles it.
      this.logger.error(
        { handler: delivery.handler, position: delivery.position },
        'an event became a dead letter',
      )
      return this.deliveries.fail(
        delivery,
        'its handler was started at every attempt and never ended',
        undefined,
      )
    }
    let committed: Committed<void>
    try {
      committed = await this.unitOfWork.run(async () => {
        await this.#handle(delivery)
        const completed = await inScope(({ manager }) => this.deliveries.complete(manager, [delivery]))
        if (!completed) throw new ClaimLostError()
      })
    } catch (error) {
      if (error instanceof ClaimLostError) return
      return this.#fail(delivery, error)
    }
    await this.#dispatch(committed)
  }

  /** Dispatches events after a COMMIT. If this fails, the next check of any node numbers them. */
  async #dispatch(committed: Omit<Committed<unknown>, 'result'>): Promise<void> {
    if (!committed.hasEvents) return
    await this.dispatcher
      .afterCommit(committed)
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
