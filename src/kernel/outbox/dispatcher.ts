import type { Clock } from '../clock.js'
import { Coalesced } from '../coalesced.js'
import type { Faults } from '../faults.js'
import type { AppliedJournal } from '../journal/applied-journal.js'
import type { ConsistencyToken } from '../journal/consistency-token.js'
import type { HintChannel } from '../journal/hint-channel.js'
import type { Journal, JournalMessage, NumberingResult } from '../journal/journal.js'
import { pageSize } from '../journal/staleness-check.js'
import type { Logger } from '../observability/logger.js'
import { inOneWrite } from '../persistence/connections.js'
import type { CommitAnswer, OpenTransaction } from '../persistence/unit-of-work.js'

/** Rows numbered by one call: large enough for a backlog, small enough to hold the lock for milliseconds only. */
const batchSize = 2_000

/**
 * After Postgres has declined to number in a transaction: it would decline each, and cost each a way there and back, beside
 * a synchronous standby.
 */
const commitsBehindOnceDeclined = 100

/**
 * Woken right after COMMIT: gives the committed events their positions, applies them here, and tells the
 * others. Calls are coalesced, and the caller's token is the head of a numbering call that was *sent* after
 * its COMMIT: one that was already under way may have looked before the commit was visible.
 */
export class Dispatcher {
  readonly #dispatches: Coalesced<ConsistencyToken>
  /** The one that has gone out with a COMMIT. */
  #withCommit: Promise<unknown> | undefined
  /** How many commits more go without an attempt to number in their transaction. */
  #behindFor = 0
  #stopped = false

  constructor(
    private readonly journal: Journal,
    private readonly applied: AppliedJournal,
    private readonly hints: HintChannel,
    private readonly faults: Faults,
    clock: Clock,
    private readonly logger: Logger,
    /** Told what this node has learnt, or nothing if that is not all there is to learn; must not throw. */
    private readonly onMessages: (messages?: readonly JournalMessage[]) => void,
  ) {
    // The answer to one numbering comes in along with those to many COMMITs, and those to more are on their way: all of them
    // are for the next. An idle process turns at once; in a busy one commands went up by 11 % for one turn, 15 % for two.
    this.#dispatches = new Coalesced(
      () => this.#dispatch(),
      async () => {
        await clock.nextTurn()
        await clock.nextTurn()
      },
    )
  }

  /**
   * Resolves with the position that covers every write committed before the call; this node has applied it by
   * then, unless it was far behind. Nobody needs to wait: what is not dispatched now is by the next check of any node.
   *
   * @throws what Postgres throws, or if stopped in the middle; the committed events stay in the outbox
   */
  dispatch(): Promise<ConsistencyToken> {
    return this.#dispatches.run()
  }

  /**
   * Commits a transaction that has put events into the outbox, and has them numbered on the same way to Postgres: they are
   * on their way to the other nodes before the next round trip would have begun.
   *
   * On a quiet node in the transaction itself (ADR 16). Beside other transactions behind its COMMIT (ADR 15), or their
   * numbering would have to wait until this one has been flushed. Neither while a numbering is under way: who commits
   * meanwhile shares the next. That one does not wait for what goes out here, as a COMMIT may take long.
   */
  commit(transaction: OpenTransaction): Promise<CommitAnswer> {
    // Between COMMIT and numbering, where that fault is to strike, nothing would be left to strike at.
    const isBusy = this.#withCommit || !this.#dispatches.isIdle || this.faults.isSet('after-commit')
    if (isBusy || this.#stopped) return transaction.connection.query('COMMIT')
    if (!transaction.isAlone) return this.#numberBehindCommit(transaction)
    if (this.#behindFor === 0) return this.#numberAndCommit(transaction)
    this.#behindFor--
    return this.#numberBehindCommit(transaction)
  }

  /** The dispatch of what has been committed: the one that has gone out with its COMMIT, or else one that begins now. */
  afterCommit({ dispatched }: Pick<CommitAnswer, 'dispatched'>): Promise<ConsistencyToken> {
    return dispatched ?? this.dispatch()
  }

  /** Waits for dispatches under way. Writes must have ended before. */
  async stop(): Promise<void> {
    this.#stopped = true
    await this.#withCommit
    await this.#dispatches.idle()
  }

  async #numberAndCommit(transaction: OpenTransaction): Promise<CommitAnswer> {
    const { connection } = transaction
    const committing = this.journal.numberAndCommit?.(connection, batchSize)
    if (!committing) return this.#numberBehindCommit(transaction)
    const dispatched = committing.then(({ numbering }) => numbering && this.#dispatch(numbering))
    this.#keep(dispatched)
    const { command, numbering } = await committing
    if (!numbering) this.#behindFor = commitsBehindOnceDeclined
    return { command, dispatched: numbering && (dispatched as Promise<ConsistencyToken>) }
  }

  async #numberBehindCommit({ connection, keepUntil }: OpenTransaction): Promise<CommitAnswer> {
    inOneWrite(connection)
    const committing = connection.query('COMMIT')
    const numbering = this.journal.numberOn?.(connection, batchSize)
    if (!numbering) return committing
    keepUntil(numbering)
    const dispatched = this.#dispatch(numbering)
    this.#keep(dispatched)
    return { command: (await committing).command, dispatched }
  }

  #keep(dispatched: Promise<unknown>): void {
    this.#withCommit = dispatched
      .catch(() => {})
      .finally(() => {
        this.#withCommit = undefined
      })
  }

  async #dispatch(
    numbering: NumberingResult | Promise<NumberingResult> = this.journal.number(batchSize),
  ): Promise<ConsistencyToken> {
    for (;;) {
      const result = await numbering
      // A full batch means that there may be more, also of what was committed before this call.
      const isFull = result.numbered >= batchSize
      const isStopped = this.#stopped
      if (isFull && !isStopped) {
        // While this one is fetched, applied and published, which takes as long: a backlog goes down half as fast again.
        const next = this.journal.number(batchSize)
        // Should publishing fail, what it numbers is found by the next check of any node, as after a crash.
        next.catch(() => {})
        numbering = next
      }
      await this.faults.at('after-numbering')
      await this.#applyAndPublish(result)
      if (!isFull) return { epoch: result.epoch, position: result.head }
      // Not resolved: a check would take what is left for numbered, and renew the lease.
      if (isStopped) throw new Error('The dispatcher was stopped before all events had a position')
    }
  }

  /**
   * Few rows come back with their numbers. More, and what others have numbered while this call waited for its lock, are
   * fetched in a statement of their own: the snapshot of the numbering statement is from before that wait.
   */
  async #applyAndPublish(result: NumberingResult): Promise<void> {
    const { epoch, head, numbered } = result
    const behind = this.applied.epoch === epoch && this.applied.position < head
    if (numbered === 0 && !behind) return
    const before = head - numbered
    const after = behind ? Math.min(this.applied.position, before) : before
    const page =
      result.messages && after === before
        ? { epoch, messages: result.messages }
        : await this.journal.read(after, pageSize)
    if (page.epoch === this.applied.epoch) this.applied.apply(page.messages)
    const isWhole = (page.messages.at(-1)?.position ?? after) >= head
    this.onMessages(isWhole ? page.messages : undefined)
    if (numbered === 0) return
    // Where this node is further behind than a page, as beside other dispatchers of a backlog: a hint without its
    // messages would send every node to Postgres.
    const published = isWhole ? page : await this.journal.read(before, numbered)
    // Read from another history than it was numbered in: nobody could use it.
    if (published.epoch !== epoch) return
    const messages = published.messages.filter(({ position }) => position > before && position <= head)
    // After it was applied here: what that has written to L2 goes out first, and who comes for it finds it.
    this.hints.publish({ epoch, head, messages })
    this.logger.debug({ head, numbered }, 'numbered and published')
  }
}
