import type { Clock } from '../clock.js'
import type { Registered } from '../cqrs/handler-registry.js'
import type { EventHandler, EventHandlerDeclaration } from '../cqrs/handlers.js'
import type { DomainEventClass } from '../domain/domain-event.js'
import type { Logger } from '../observability/logger.js'
import { inScope } from '../persistence/transaction-scope.js'
import type { Committed, CommittedEach, UnitOfWork } from '../persistence/unit-of-work.js'
import type { Dispatcher } from './dispatcher.js'
import type { Delivery, EventDeliveries, NextDeliveries } from './event-deliveries.js'

/** Positions passed by one statement, most of which may not be the handler's. */
const scanSize = 10_000

/**
 * Events claimed together. A handler whose batches take less than half of `batchMs` gets them twice as large, as each
 * batch costs a flush to disk. A slow one leaves more to other nodes.
 */
const firstBatchSize = 10
const largestBatchSize = 2_000

/**
 * After so many ms a batch begins no further event, and commits. This is also what a crash may repeat of what
 * handlers do elsewhere than in Postgres, and how long a row that they write stays locked.
 */
const batchMs = 100

/** Attempts before a delivery is a dead letter; between them, ms that double from the first to the longest. */
const maximumAttempts = 10
const firstRetryMs = 250
const longestRetryMs = 60_000

/** How long, in ms, a claim holds: longer than any handler should take. */
const claimMs = 60_000

/** Without a wake, how often in ms a handler looks for retries that have come due and events of other nodes. */
const pollMs = 1_000

class ClaimLostError extends Error {}

/** Claimed deliveries, and when the claim was asked for: it holds no longer than from then. */
interface Batch extends NextDeliveries {
  readonly claimedAt: number
}

/**
 * Runs one event handler on this node. Each handler has a loop of its own, so that a slow or failing one holds
 * up no other, and none of them a position.
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
    let ahead: Promise<Batch> | undefined
    while (!this.#stop.signal.aborted) {
      this.#wake = new AbortController()
      let more = false
      try {
        const batch = await (ahead ?? this.#claimNext())
        ahead = undefined
        more = batch.behind
        // Claimed while this one runs; by quick handlers only, as another node could run it at once.
        if (more && this.#batchSize > firstBatchSize) ahead = this.#claimNext()
        // What it rejects with is thrown where it is awaited.
        ahead?.catch(() => {})
        await this.#deliverAll(batch)
        if (this.#stop.signal.aborted) break
        more = (await this.#deliverDue()) || more
      } catch (error) {
        this.logger.warn(
          { err: error, handler: this.#name },
          'the event handler’s deliveries cannot be reached',
        )
        ahead = await this.#giveBack(ahead)
        more = false
      }
      if (!more && !this.#stop.signal.aborted) {
        // Resolves at once if a wake came while the loop was busy.
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

  /** Of a claim that will not be run. Where this fails, it runs out by itself. */
  async #giveBack(ahead: Promise<Batch> | undefined): Promise<undefined> {
    if (!ahead) return
    try {
      const { deliveries } = await ahead
      if (deliveries.length > 0) await this.deliveries.release(this.#name, deliveries)
    } catch (error) {
      this.logger.warn({ err: error, handler: this.#name }, 'a claim could not be given back')
    }
  }

  /** @returns whether there may be more that was given back, or is to be tried again */
  async #deliverDue(): Promise<boolean> {
    const claimedAt = this.clock.now()
    const deliveries = await this.deliveries.claim(this.#name, 'new', this.#batchSize, claimMs)
    await this.#deliverAll({ deliveries, behind: false, claimedAt })
    if (this.#stop.signal.aborted) return false
    const [retried] = await this.deliveries.claim(this.#name, 'retried', 1, claimMs)
    if (retried) await this.#deliver(retried)
    return deliveries.length > 0 || retried !== undefined
  }

  /** Claims that a slow handler, or stopping, leaves unrun are given back before they run out. */
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
   * Runs events at their first attempt in one transaction, until its time is over. One that fails is rolled back
   * alone and will be tried again; what befalls the transaction makes each run again in one of its own.
   *
   * @returns how many of them it has run
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
      // Every claim was counted and none of them ended: the event ends the process that handles it.
      this.logger.error(
        { handler: delivery.handler, position: delivery.position },
        'an event became a dead letter',
      )
      return this.deliveries.fail(delivery, 'its handler was begun and never ended', undefined)
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

  /** After a COMMIT: where this fails, the next check of any node gives the events their positions. */
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
