import type { Clock } from '../clock.js'
import { Coalesced } from '../coalesced.js'
import type { Logger } from '../observability/logger.js'
import type { AppliedJournal } from './applied-journal.js'
import type { ClusterClock } from './cluster-clock.js'
import type { ConsistencyToken } from './consistency-token.js'
import type { Journal, JournalPage, Place } from './journal.js'
import type { Lease } from './lease.js'

/** The most messages that one statement reads. */
export const pageSize = 2_000

export interface StalenessCheckOptions {
  /** Milliseconds between two checks, on average. Several checks must fit into the lease. */
  readonly intervalMs: number
  /** How many of the newest events a starting node applies, so that it can use L2 entries that are as old. */
  readonly replayAtStart: number
}

/**
 * Makes up for every lost hint and every writer or dispatcher that died. Several times within `maxStaleness` a node asks
 * Postgres what it has missed. Only a node that has done so may answer from its caches.
 */
export class StalenessCheck {
  readonly #checks: Coalesced<void>
  /** Why the latest check failed; undefined if it succeeded. */
  lastFailure: unknown
  readonly #stop = new AbortController()
  #loop: Promise<void> | undefined

  constructor(
    private readonly journal: Journal,
    private readonly applied: AppliedJournal,
    private readonly lease: Lease,
    /** Numbers and publishes what is committed, including the events of a writer that died. */
    private readonly dispatch: () => Promise<unknown>,
    private readonly clock: Clock,
    private readonly logger: Logger,
    private readonly options: StalenessCheckOptions,
    private readonly clusterClock?: ClusterClock,
  ) {
    this.#checks = new Coalesced(async () => {
      try {
        await this.#check()
        this.lastFailure = undefined
      } catch (error) {
        this.lastFailure = error
        throw error
      }
    })
  }

  /** @throws what Postgres throws, because a node that cannot check must not start */
  async start(): Promise<void> {
    await this.#checks.run()
    this.#loop = this.#repeat()
  }

  async stop(): Promise<void> {
    this.#stop.abort()
    await this.#loop
    await this.#checks.idle()
  }

  /**
   * Runs a check that starts after this call; concurrent callers share it. When it resolves, this node has applied every
   * write that was committed before the call.
   *
   * @throws what Postgres throws; then the lease is not renewed
   */
  run(): Promise<void> {
    return this.#checks.run()
  }

  /** Asks for a check without waiting for it, because this node may have missed something. */
  request(): void {
    if (this.#stop.signal.aborted) return
    this.#checks
      .run()
      .catch((error: unknown) => this.logger.debug({ err: error }, 'a requested check failed'))
  }

  /**
   * Makes this node at least as new as a token.
   *
   * @returns the token to answer instead of the request's. It covers everything that the client can have seen. It is not a
   *   forged position that is too high, which would make every later read of that client ask the database
   * @throws what Postgres throws if it has to be asked
   */
  async satisfy(token: ConsistencyToken): Promise<ConsistencyToken> {
    if (this.#covers(token)) return token
    await this.#checks.run()
    return { epoch: this.applied.epoch, position: this.applied.position }
  }

  #covers(token: ConsistencyToken): boolean {
    return (
      token.position !== 'pending' &&
      token.epoch === this.applied.epoch &&
      token.position <= this.applied.position
    )
  }

  async #repeat(): Promise<void> {
    const { signal } = this.#stop
    while (!signal.aborted) {
      // The random part keeps nodes that started together from asking Postgres at the same moments.
      await this.clock.sleep(this.options.intervalMs * (0.75 + Math.random() / 2), signal)
      if (signal.aborted) return
      const failedBefore = this.lastFailure !== undefined
      try {
        await this.#checks.run()
        if (failedBefore) this.logger.info('checks succeed again')
      } catch (error) {
        // Logged once for each change. Otherwise there would be several lines a second while Postgres is away.
        if (!failedBefore)
          this.logger.warn(
            { err: error },
            'checks fail: nothing is answered from the caches once the lease is over',
          )
      }
    }
  }

  async #check(): Promise<void> {
    const startedAt = this.clock.now()
    const startedAtWall = this.clock.wall()
    let page = await this.#readOn()
    if (page.unnumbered) {
      // Their writer died or was cut off after COMMIT, or is about to number them itself.
      await this.dispatch()
      page = await this.#readOn()
    }
    // Every write committed before `startedAt` has a position of at most this head: the first page saw no row without one, or
    // these rows have been numbered since.
    const { epoch, head } = page
    while (this.applied.epoch === epoch && this.applied.position < head) await this.#readOn()
    if (this.applied.epoch !== epoch) throw new Error('the epoch changed during a check')
    this.applied.checked(startedAt, head)
    this.lease.renew(startedAt, startedAtWall)
  }

  async #read(after: number, atMost: number, places: readonly Place[] = []): Promise<JournalPage> {
    const startedAt = this.clock.now()
    const page = await this.journal.read(after, atMost, places)
    this.clusterClock?.observe(page.clockMs, startedAt, this.clock.now())
    return page
  }

  /** Reads the page after the present position and applies it. */
  async #readOn(): Promise<JournalPage> {
    const { epoch, position, numberingId, unverified } = this.applied
    const page = await this.#read(position, pageSize, unverified)
    // This node entered a new epoch while it read, so what it read for the old one proves nothing.
    if (this.applied.epoch !== epoch) return this.#readOn()

    if (page.epoch !== epoch) return this.#enterEpoch(page)
    if (page.head < position || page.contradicted || idAt(page, position) === 'another') {
      await this.journal.beginEpoch(epoch)
      return this.#enterEpoch(await this.#read(0, 0))
    }
    if (idAt(page, position) === 'unknown' || !isComplete(page, position)) {
      this.applied.flushTo(page, 'events between this node’s position and the head are gone')
      return page
    }
    this.applied.verified(unverified)
    const from = this.applied.position
    this.applied.apply(page.messages)
    this.applied.caughtUp(from, this.applied.position)
    return page

    function idAt({ head, headId, afterId }: JournalPage, at: number): 'same' | 'another' | 'unknown' {
      const id = at === head ? headId : afterId
      if (at === 0 || id === numberingId) return 'same'
      return id === null ? 'unknown' : 'another'
    }
  }

  /**
   * Values older than the floor are misses. The floor is somewhat below the head, and the events after it are applied. So a
   * node that starts during a deployment can use what other nodes have put into L2.
   */
  async #enterEpoch(page: JournalPage): Promise<JournalPage> {
    const floor = Math.max(0, page.head - this.options.replayAtStart)
    const replay = await this.#read(floor, pageSize)
    if (replay.epoch !== page.epoch) return this.#enterEpoch(replay)
    const complete = isComplete(replay, floor) && (floor === 0 || replay.afterId !== null)
    if (complete) {
      this.applied.enterEpoch(replay.epoch, floor, replay.afterId)
      this.applied.apply(replay.messages)
    } else {
      this.applied.enterEpoch(replay.epoch, replay.head, replay.headId)
    }
    return replay
  }
}

/** Whether the page has every position that it should have, so that no event is missing. */
function isComplete(page: JournalPage, after: number): boolean {
  const expected = Math.min(pageSize, page.head - after)
  return page.messages.length === expected && (expected === 0 || page.messages[0]?.position === after + 1)
}
