import type { Clock } from '../clock.js'
import { Coalesced } from '../coalesced.js'
import type { Logger } from '../observability/logger.js'
import type { AppliedJournal } from './applied-journal.js'
import type { ClusterClock } from './cluster-clock.js'
import type { ConsistencyToken } from './consistency-token.js'
import type { Journal, JournalPage, Place } from './journal.js'
import type { Lease } from './lease.js'

/** How many messages one statement fetches. */
export const pageSize = 2_000

export interface StalenessCheckOptions {
  /** Mean milliseconds between two checks; several must fit into the lease. */
  readonly intervalMs: number
  /** How many of the newest events a starting node applies, so that it can trust L2 entries that old. */
  readonly replayAtStart: number
}

/**
 * The one mechanism behind every lost message, deaf node, dead writer and cut-off dispatcher: several times
 * within `maxStaleness` a node asks Postgres itself, and only then may it serve from its caches.
 */
export class StalenessCheck {
  readonly #checks: Coalesced<void>
  /** Why the newest check failed; undefined once one has succeeded again. */
  lastFailure: unknown
  readonly #stop = new AbortController()
  #loop: Promise<void> | undefined

  constructor(
    private readonly journal: Journal,
    private readonly applied: AppliedJournal,
    private readonly lease: Lease,
    /** Numbers what is committed and publishes it, so that a dead writer's events go out too. */
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

  /** @throws what Postgres throws: a node that cannot check cannot start */
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
   * A check that begins after this call; concurrent callers share it. When it resolves, this node has applied
   * every write that was committed before the call.
   *
   * @throws what Postgres throws, in which case nothing changed
   */
  run(): Promise<void> {
    return this.#checks.run()
  }

  /** Asks for a check without waiting for it: a hint showed that there is something to fetch. */
  request(): void {
    if (this.#stop.signal.aborted) return
    this.#checks
      .run()
      .catch((error: unknown) => this.logger.debug({ err: error }, 'a requested check failed'))
  }

  /**
   * Makes this node at least as new as a token. Without a token there is nothing to do.
   *
   * @returns what to answer instead of the request's token: never weaker, and never a forged far position,
   *   which would send every later read of that client to the database
   * @throws what Postgres throws when it has to be asked
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
      // Jitter keeps a fleet that started together from asking Postgres in step.
      await this.clock.sleep(this.options.intervalMs * (0.75 + Math.random() / 2), signal)
      if (signal.aborted) return
      const failedBefore = this.lastFailure !== undefined
      try {
        await this.#checks.run()
        if (failedBefore) this.logger.info('checks succeed again')
      } catch (error) {
        // Once for each change, not several times a second for as long as Postgres is away.
        if (!failedBefore)
          this.logger.warn({ err: error }, 'checks fail: caches are not served once the lease is over')
      }
    }
  }

  async #check(): Promise<void> {
    const startedAt = this.clock.now()
    const startedAtWall = this.clock.wall()
    let page = await this.#readOn()
    if (page.unnumbered) {
      // The rows were committed, by a writer that died or was cut off, before or while we looked.
      await this.dispatch()
      page = await this.#readOn()
    }
    // Whatever was committed before `startedAt` has a position up to this head: the first page saw none
    // unnumbered, or they have been numbered since.
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
    // Somebody else entered a new epoch while we read: what was read for the old one proves nothing.
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
   * Everything older than the floor is a miss. A floor somewhat below the head, with the events since then
   * applied, lets a node that starts after a deployment use what the others have put into L2.
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

/** Whether the page holds every position that it should: none is missing between it and its head. */
function isComplete(page: JournalPage, after: number): boolean {
  const expected = Math.min(pageSize, page.head - after)
  return page.messages.length === expected && (expected === 0 || page.messages[0]?.position === after + 1)
}
