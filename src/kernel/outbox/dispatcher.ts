import { Coalesced } from '../coalesced.js'
import type { Faults } from '../faults.js'
import type { AppliedJournal } from '../journal/applied-journal.js'
import type { ConsistencyToken } from '../journal/consistency-token.js'
import type { HintChannel } from '../journal/hint-channel.js'
import type { Journal, NumberingResult } from '../journal/journal.js'
import { pageSize } from '../journal/staleness-check.js'
import type { Logger } from '../observability/logger.js'

/** Rows numbered by one call: large enough for a backlog, small enough to hold the lock for milliseconds only. */
const batchSize = 2_000

/**
 * Woken right after COMMIT: gives the committed events their positions, applies them here, and tells the
 * others. Calls are coalesced, and the caller's token is the head of a numbering call that was *sent* after
 * its COMMIT: one that was already under way may have looked before the commit was visible.
 */
export class Dispatcher {
  readonly #dispatches: Coalesced<ConsistencyToken>
  #stopped = false

  constructor(
    private readonly journal: Journal,
    private readonly applied: AppliedJournal,
    private readonly hints: HintChannel,
    private readonly faults: Faults,
    private readonly logger: Logger,
    /** Told when this node has learnt of new messages; must not throw. */
    private readonly onMessages: () => void,
  ) {
    this.#dispatches = new Coalesced(() => this.#dispatch())
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

  /** Waits for dispatches under way. Writes must have ended before. */
  async stop(): Promise<void> {
    this.#stopped = true
    await this.#dispatches.idle()
  }

  async #dispatch(): Promise<ConsistencyToken> {
    let numbering = this.journal.number(batchSize)
    for (;;) {
      const result = await numbering
      await this.faults.at('after-numbering')
      // A full batch means that there may be more, also of what was committed before this call. It is numbered while
      // this one is fetched and published: by no more than one call ahead, and published in order all the same.
      const isLast = result.numbered < batchSize
      if (!isLast && !this.#stopped) {
        numbering = this.journal.number(batchSize)
        // What it rejects with is thrown where it is awaited.
        numbering.catch(() => {})
      }
      try {
        await this.#applyAndPublish(result)
      } catch (error) {
        await Promise.allSettled([numbering])
        throw error
      }
      if (isLast) return { epoch: result.epoch, position: result.head }
      if (!this.#stopped) continue
      await Promise.allSettled([numbering])
      // Not resolved: a check would take what is left for numbered, and renew the lease.
      throw new Error('The dispatcher was stopped before all events had a position')
    }
  }

  /**
   * Fetches in a statement of its own: rows that the numbering statement itself returned, or a CTE of it, are
   * those of a snapshot from before it waited for the lock.
   */
  async #applyAndPublish(result: NumberingResult): Promise<void> {
    const behind = this.applied.epoch === result.epoch && this.applied.position < result.head
    if (result.numbered === 0 && !behind) return
    const firstNumbered = result.head - result.numbered + 1
    const after = behind ? Math.min(this.applied.position, firstNumbered - 1) : firstNumbered - 1
    const page = await this.journal.read(after, pageSize)
    if (page.epoch === this.applied.epoch) this.applied.apply(page.messages)
    this.onMessages()
    if (result.numbered === 0) return
    // Where this node is further behind than a page, as beside other dispatchers of a backlog: a hint without its
    // messages would send every node to Postgres.
    const reaches = (page.messages.at(-1)?.position ?? 0) >= result.head
    const published = reaches ? page : await this.journal.read(firstNumbered - 1, result.numbered)
    const { epoch, messages } = published
    // Read from another history than it was numbered in: nobody could use it.
    if (epoch !== result.epoch) return
    this.hints.publish({
      epoch,
      head: result.head,
      messages: messages.filter(({ position }) => position >= firstNumbered && position <= result.head),
    })
    this.logger.debug({ head: result.head, numbered: result.numbered }, 'numbered and published')
  }
}
