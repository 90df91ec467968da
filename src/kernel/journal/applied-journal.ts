import type { Logger } from '../observability/logger.js'
import type { ConsistencyToken } from './consistency-token.js'
import type { Invalidating, InvalidationRules } from './invalidation-rules.js'
import type { JournalHead, JournalMessage, Place } from './journal.js'
import type { LastInvalidations } from './last-invalidations.js'

/** Where a load began: what a cached value carries, and what is compared at every read. */
export interface Stamp {
  readonly epoch: string
  readonly position: number
}

/** What has become of a value since its load began; the worst of it. */
export type Standing = 'fresh' | 'expired' | 'invalidated' | 'removed'

/** Told what happens to the journal of a node. What an observer throws is logged, and stops nothing. */
export interface JournalObserver {
  /** A batch did not continue where this node stands. */
  gap?(gap: { readonly applied: number; readonly received: number }): void
  /** Everything loaded so far has become stale. */
  flushed?(flush: { readonly position: number; readonly reason: string }): void
  /** What was loaded so far and depends on one of these names is never to be answered again. */
  removed?(names: readonly string[] | 'all'): void
  epochEntered?(entered: { readonly epoch: string; readonly position: number }): void
  /** A check applied what no hint had brought. */
  caughtUp?(reach: { readonly from: number; readonly to: number }): void
}

/** How much of a batch could be applied. */
export type Applied = 'applied' | 'gap'

export interface JournalStatistics {
  /** Messages whose effect was applied. */
  applied: number
  /** Batches that did not start at the next position. */
  gaps: number
  flushes: number
  epochs: number
}

/**
 * What this node knows of the journal: the last position whose effect it has applied, and for each key and
 * tag the position of its last invalidation. Every method is synchronous, so that no read can come between
 * a position and its effect.
 */
export class AppliedJournal {
  readonly statistics: JournalStatistics = { applied: 0, gaps: 0, flushes: 0, epochs: 0 }
  #epoch = ''
  #position = 0
  #stamp: Stamp = { epoch: '', position: 0 }
  #numberingId: string | null = null
  /** Where each numbering call before the present one left off. */
  #before: Place[] = []
  #lastCheck = { startedAt: Number.NEGATIVE_INFINITY, head: 0 }
  readonly #observers: JournalObserver[] = []
  readonly #messageListeners = new Set<(message: JournalMessage) => void>()

  constructor(
    readonly invalidations: LastInvalidations,
    private readonly rules: InvalidationRules,
    private readonly logger: Logger,
  ) {}

  /** Empty until the first check has succeeded. */
  get epoch(): string {
    return this.#epoch
  }

  get position(): number {
    return this.#position
  }

  get numberingId(): string | null {
    return this.#numberingId
  }

  /**
   * Where each numbering call applied since the last check left off. Hints and dispatches are believed at once; a
   * check asks whether these places belong to the history that it reads, or a database set back and written anew
   * could pass for a continuation as soon as it has grown beyond this node's position.
   */
  get unverified(): readonly Place[] {
    const present = this.#present()
    return present ? [...this.#before, present] : [...this.#before]
  }

  /** The history that a check read contains these places. */
  verified(places: readonly Place[]): void {
    const last = places.at(-1)?.position ?? 0
    // The last of them stays, as the anchor of what is applied next: without it, an idle node that is told of a
    // history written anew would have nothing of its own to hold against it.
    this.#before = this.#before.filter(({ position }) => position >= last)
  }

  observe(observer: JournalObserver): void {
    this.#observers.push(observer)
  }

  onEpoch(listener: (epoch: string) => void): void {
    this.observe({ epochEntered: ({ epoch }) => listener(epoch) })
  }

  /**
   * Calls `listener` with every message right before its effect is applied: the one moment at which a value read
   * earlier can be judged by all that came before that message, and by nothing after it.
   *
   * @returns how to stop listening
   */
  onMessage(listener: (message: JournalMessage) => void): () => void {
    this.#messageListeners.add(listener)
    return () => this.#messageListeners.delete(listener)
  }

  /** A check applied the messages between two positions. */
  caughtUp(from: number, to: number): void {
    if (to > from) this.#tell((observer) => observer.caughtUp?.({ from, to }))
  }

  /** The same object until the position changes: entries that were loaded at one position share it. */
  stamp(): Stamp {
    const { epoch, position } = this.#stamp
    if (position !== this.#position || epoch !== this.#epoch) {
      this.#stamp = { epoch: this.#epoch, position: this.#position }
    }
    return this.#stamp
  }

  /** Whether nothing that a value depends on was invalidated after its load began. */
  isFresh(stamp: Stamp, slots: ArrayLike<number>): boolean {
    return stamp.epoch === this.#epoch && this.invalidations.isCurrent(stamp.position, slots)
  }

  /** What has become of a value; of another epoch, nothing is left. */
  standingOf({ epoch, position }: Stamp, slots: ArrayLike<number>): Standing {
    const { invalidations } = this
    if (epoch !== this.#epoch || position < invalidations.lastRemovedOf(slots)) return 'removed'
    if (position < invalidations.lastSupersededOf(slots)) return 'invalidated'
    return invalidations.isCurrent(position, slots) ? 'fresh' : 'expired'
  }

  /**
   * Applies what follows the present position without a gap, and skips what is already applied. Messages must
   * be ascending and of this epoch; what lies behind a gap is left to a check, which asks Postgres.
   */
  apply(messages: readonly JournalMessage[]): Applied {
    for (const message of messages) {
      if (message.position <= this.#position) continue
      if (message.position !== this.#position + 1) {
        this.statistics.gaps++
        this.#tell((observer) => observer.gap?.({ applied: this.#position, received: message.position }))
        return 'gap'
      }
      this.#applyNext(message)
    }
    return 'applied'
  }

  /**
   * Makes everything loaded so far stale and continues at the head: the answer to messages that can no longer
   * be had. Flights that began before carry an older stamp, so their values are not served either. Removals may have
   * been among them, so nothing is left for fail-safe.
   */
  flushTo(head: JournalHead, reason: string): void {
    this.statistics.flushes++
    this.invalidations.raiseRemovalFloor(head.head)
    this.#before = []
    this.#position = head.head
    this.#numberingId = head.headId
    this.logger.warn({ position: head.head, reason }, 'everything cached on this node was invalidated')
    this.#tell((observer) => observer.flushed?.({ position: head.head, reason }))
    this.#tell((observer) => observer.removed?.('all'))
  }

  /** Starts over in another history of the database. Stamps of the old one are never fresh again. */
  enterEpoch(epoch: string, floor: number, floorId: string | null): void {
    const first = this.#epoch === ''
    this.#epoch = epoch
    this.#before = []
    this.#position = floor
    this.#numberingId = floorId
    this.#lastCheck = { startedAt: Number.NEGATIVE_INFINITY, head: 0 }
    this.invalidations.reset(floor)
    // The first epoch replaces nothing: there is no cache and no connection of an older one.
    if (first) return
    this.statistics.epochs++
    this.logger.warn(
      { epoch, position: floor },
      'the database has entered another epoch: all caches start empty',
    )
    this.#tell((observer) => observer.epochEntered?.({ epoch, position: floor }))
  }

  /** Remembers that every commit before `startedAt` (monotonic ms) has a position up to `head`. */
  checked(startedAt: number, head: number): void {
    if (startedAt > this.#lastCheck.startedAt) this.#lastCheck = { startedAt, head }
  }

  /**
   * The token of an answer that this node obtained at `obtainedAt` (monotonic ms). Pending until a check that
   * began afterwards has succeeded: the value may show a write that had no number yet, and a position that
   * leaves it out would let the client's next read go back in time.
   */
  tokenOf(obtainedAt: number): ConsistencyToken {
    const covered = this.#lastCheck.startedAt > obtainedAt
    return { epoch: this.#epoch, position: covered ? this.#lastCheck.head : 'pending' }
  }

  #present(): Place | undefined {
    const numberingId = this.#numberingId
    return numberingId === null ? undefined : { position: this.#position, numberingId }
  }

  #applyNext(message: JournalMessage): void {
    for (const listener of this.#messageListeners) this.#safely(() => listener(message))
    const effect = this.rules.effectOf(message)
    const { position, numberingId } = message
    if ('flush' in effect) {
      if (effect.flush === 'remove') this.#removeAll(position)
      else this.invalidations.raiseFloor(position)
      this.#flushed(position, effect.reason)
    } else {
      for (const invalidating of effect.invalidate) this.#invalidate(invalidating, message)
      if (effect.reason)
        this.logger.warn({ position, reason: effect.reason }, 'a module’s caches were flushed')
    }
    if (numberingId !== this.#numberingId) {
      const leftOff = this.#present()
      if (leftOff) this.#before.push(leftOff)
    }
    this.#position = position
    this.#numberingId = numberingId
    this.statistics.applied++
  }

  #invalidate({ kind, names }: Invalidating, { position, type }: JournalMessage): void {
    const { invalidations } = this
    if (names === 'all') {
      if (kind === 'expire') invalidations.raiseExpiryFloor(position)
      else if (kind === 'remove') this.#removeAll(position)
      else invalidations.raiseFloor(position)
      this.#flushed(position, `${type} asks for it`)
      return
    }
    for (const name of names) {
      if (kind === 'supersede') invalidations.invalidate(name, position)
      else if (kind === 'expire') invalidations.expire(name, position)
      else invalidations.remove(name, position)
    }
    if (kind === 'remove') this.#tell((observer) => observer.removed?.(names))
  }

  #removeAll(position: number): void {
    this.invalidations.raiseRemovalFloor(position)
    this.#tell((observer) => observer.removed?.('all'))
  }

  #flushed(position: number, reason: string): void {
    this.statistics.flushes++
    this.logger.warn({ position, reason }, 'all caches were flushed')
    this.#tell((observer) => observer.flushed?.({ position, reason }))
  }

  #tell(what: (observer: JournalObserver) => void): void {
    for (const observer of this.#observers) this.#safely(() => what(observer))
  }

  /** Whoever listens must not be able to keep a position from being applied. */
  #safely(call: () => void): void {
    try {
      call()
    } catch (error) {
      this.logger.error({ err: error }, 'an observer of the journal threw')
    }
  }
}
