import type { Logger } from '../observability/logger.js'
import type { ConsistencyToken } from './consistency-token.js'
import type { Invalidating, InvalidationRules } from './invalidation-rules.js'
import type { JournalHead, JournalMessage, Place } from './journal.js'
import type { LastInvalidations } from './last-invalidations.js'

/** The position at which a load started. A cached value carries it, and every read compares it. */
export interface Stamp {
  readonly epoch: string
  readonly position: number
}

/** What has happened to a value since its load started. If several things have, the last one of this list counts. */
export type Standing = 'fresh' | 'expired' | 'invalidated' | 'removed'

/** Is told what happens to the journal of a node. An error that an observer throws is logged and has no other effect. */
export interface JournalObserver {
  /** A batch did not continue at this node's position. */
  gap?(gap: { readonly applied: number; readonly received: number }): void
  /** Every value loaded so far has become stale. */
  flushed?(flush: { readonly position: number; readonly reason: string }): void
  /** Values loaded so far that depend on one of these names must not be answered again, not even by fail-safe. */
  removed?(names: readonly string[] | 'all'): void
  epochEntered?(entered: { readonly epoch: string; readonly position: number }): void
  /** A check applied messages that no hint had brought. */
  caughtUp?(reach: { readonly from: number; readonly to: number }): void
}

/** Types come from whoever can insert an event, so there may be any number of them. */
const mostIgnoredTypes = 100

/** Whether the whole batch could be applied, or only what came before a gap. */
export type Applied = 'applied' | 'gap'

export interface JournalStatistics {
  /** Messages that were applied. */
  applied: number
  /** Batches that did not start at the next position. */
  gaps: number
  flushes: number
  epochs: number
}

/**
 * What this node knows of the journal: the last position that it has applied, and for each key and tag the position of its
 * last invalidation. Every method is synchronous, so that no read can happen between a new position and its effect.
 */
export class AppliedJournal {
  readonly statistics: JournalStatistics = { applied: 0, gaps: 0, flushes: 0, epochs: 0 }
  #epoch = ''
  #position = 0
  #stamp: Stamp = { epoch: '', position: 0 }
  #numberingId: string | null = null
  /** The last position of each numbering call before the present one. */
  #before: Place[] = []
  #lastCheck = { startedAt: Number.NEGATIVE_INFINITY, head: 0 }
  readonly #ignoredTypes = new Set<string>()
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
   * The last position of each numbering call that was applied since the last check. A node applies hints and its own
   * dispatches at once. A check asks later whether these places belong to the history that it reads. Otherwise a database that
   * was set back and then written again could pass for a continuation once it had grown beyond this node's position.
   */
  get unverified(): readonly Place[] {
    const present = this.#present()
    return present ? [...this.#before, present] : [...this.#before]
  }

  /** A check found these places in the history that it read. */
  verified(places: readonly Place[]): void {
    const last = places.at(-1)?.position ?? 0
    // The last of them stays. Without it, an idle node that hears of another history would have no place of its own to compare
    // with that history.
    this.#before = this.#before.filter(({ position }) => position >= last)
  }

  observe(observer: JournalObserver): void {
    this.#observers.push(observer)
  }

  onEpoch(listener: (epoch: string) => void): void {
    this.observe({ epochEntered: ({ epoch }) => listener(epoch) })
  }

  /**
   * Calls `listener` with every message right before it is applied. Only at this moment can a value that was read earlier be
   * compared with everything before that message and nothing after it.
   *
   * @returns a function that stops listening
   */
  onMessage(listener: (message: JournalMessage) => void): () => void {
    this.#messageListeners.add(listener)
    return () => this.#messageListeners.delete(listener)
  }

  /** A check applied the messages between two positions. */
  caughtUp(from: number, to: number): void {
    if (to > from) this.#tell((observer) => observer.caughtUp?.({ from, to }))
  }

  /** Returns the same object until the position changes, so that entries loaded at one position share it. */
  stamp(): Stamp {
    const { epoch, position } = this.#stamp
    if (position !== this.#position || epoch !== this.#epoch) {
      this.#stamp = { epoch: this.#epoch, position: this.#position }
    }
    return this.#stamp
  }

  /** Whether nothing that a value depends on was invalidated after its load started. */
  isFresh(stamp: Stamp, slots: ArrayLike<number>): boolean {
    return stamp.epoch === this.#epoch && this.invalidations.isCurrent(stamp.position, slots)
  }

  /** What has happened to a value. A value of another epoch counts as removed. */
  standingOf({ epoch, position }: Stamp, slots: ArrayLike<number>): Standing {
    const { invalidations } = this
    if (epoch !== this.#epoch || position < invalidations.lastRemovedOf(slots)) return 'removed'
    if (position < invalidations.lastSupersededOf(slots)) return 'invalidated'
    return invalidations.isCurrent(position, slots) ? 'fresh' : 'expired'
  }

  /**
   * Applies the messages that follow the present position, and skips those that are applied already. They must be of this
   * epoch and in ascending order. At a gap it stops, and the caller asks for a check, which reads the rest from Postgres.
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
   * Makes every value loaded so far stale and continues at the head, because messages in between no longer exist. Loads that
   * are running carry an older stamp, so their values are not served, either. The missing messages may have been removals, so
   * fail-safe must not use any of these values.
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

  /** Starts again in another history of the database. Stamps of the old one are never fresh again. */
  enterEpoch(epoch: string, floor: number, floorId: string | null): void {
    const first = this.#epoch === ''
    this.#epoch = epoch
    this.#before = []
    this.#position = floor
    this.#numberingId = floorId
    this.#lastCheck = { startedAt: Number.NEGATIVE_INFINITY, head: 0 }
    this.invalidations.reset(floor)
    // The first epoch replaces nothing: no entry and no connection is older.
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
   * The token of an answer that this node obtained at `obtainedAt` (monotonic ms). It is pending until a check that started
   * afterwards has succeeded. The value may show a write that had no position yet. A token with a position before that write
   * would let the client's next read go back in time.
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
      if (effect.ignored) this.#ignored(message, effect.ignored)
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

  /** Logs each type once, because a start reads old events again, also those of a module that is gone. */
  #ignored({ position, type }: JournalMessage, reason: string): void {
    if (this.#ignoredTypes.has(type) || this.#ignoredTypes.size >= mostIgnoredTypes) return
    this.#ignoredTypes.add(type)
    this.logger.warn({ position, reason }, 'an event has made nothing stale')
  }

  #tell(what: (observer: JournalObserver) => void): void {
    for (const observer of this.#observers) this.#safely(() => what(observer))
  }

  /** An error in a listener must not keep a position from being applied. */
  #safely(call: () => void): void {
    try {
      call()
    } catch (error) {
      this.logger.error({ err: error }, 'an observer of the journal threw')
    }
  }
}
