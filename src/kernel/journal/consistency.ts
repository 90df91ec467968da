import type { AppliedJournal } from './applied-journal.js'
import { type ConsistencyToken, strongest } from './consistency-token.js'
import type { StalenessCheck } from './staleness-check.js'

/** What makes an answer stale: its time is over, it was invalidated, or nobody can tell what this node has missed. */
export type Staleness = 'expired' | 'invalidated' | 'unverified'

export interface StaleAnswer {
  readonly staleness: Staleness
  /** Milliseconds since its time was over; 0 if it is not. */
  readonly overdueMs: number
}

/** Where an answer came from. */
export type AnswerSource = 'l1' | 'l2' | 'miss' | 'bypass'
export type Tier = 'l1' | 'l2' | 'database'

/**
 * One client request's view of time: the token that it came with, and the one to answer. Reads and writes of
 * the request pass it along; not to be shared between requests.
 */
export class Consistency {
  /** Where the newest read of this request was answered from. */
  source: AnswerSource | undefined
  /** Set once any read of this request was answered by something stale. */
  stale: StaleAnswer | undefined
  #required: ConsistencyToken | undefined
  #answer: ConsistencyToken | undefined
  #satisfied: Promise<void> | undefined

  /**
   * @param required the request's token, if it sent one
   * @param onlyTier read this tier alone (tests and demo)
   */
  constructor(
    private readonly check: StalenessCheck,
    private readonly applied: AppliedJournal,
    required?: ConsistencyToken,
    readonly onlyTier?: Tier,
  ) {
    this.#required = required
  }

  /** Whether the request may be answered by whatever is fresh here: it has sent no token, has not written, and wants no tier. */
  get isUndemanding(): boolean {
    return this.#required === undefined && this.onlyTier === undefined
  }

  /** The position that a flight must have begun at for this request to join it; 0 without a token. */
  get requiredPosition(): number {
    const position = this.#required?.position
    return typeof position === 'number' ? position : 0
  }

  /**
   * Undefined when this node is known to be new enough, so that the usual read waits for nothing.
   *
   * @throws what Postgres throws when it has to be asked
   */
  satisfy(): Promise<void> | undefined {
    const required = this.#required
    if (!required) return undefined
    this.#satisfied ??= this.check.satisfy(required).then((reached) => {
      // In place of the request's own: a pending one is now a position, and a forged far one is gone.
      this.#required = reached
      this.#answer = strongest(this.#answer, reached)
    })
    return this.#satisfied
  }

  /** A read was answered by something that this node has had since `obtainedAt` (monotonic ms). */
  answered(source: AnswerSource, obtainedAt: number, stale?: StaleAnswer): void {
    this.source = source
    this.stale ??= stale
    this.observed(this.applied.tokenOf(obtainedAt))
  }

  /** The request saw a state that this token stands for. */
  observed(token: ConsistencyToken): void {
    this.#answer = strongest(this.#answer, token)
  }

  /**
   * The request wrote, or saw the database itself, which may show what has no position yet. Its own later reads see
   * no older state, either.
   *
   * @param token the position of the write; pending unless it is known
   */
  wrote(token: ConsistencyToken = { epoch: this.applied.epoch, position: 'pending' }): void {
    this.observed(token)
    this.#required = strongest(this.#required, token)
    this.#satisfied = undefined
  }

  /** Undefined if the request has read and written nothing, and sent no token. */
  get token(): ConsistencyToken | undefined {
    if (this.#satisfied || !this.#required) return this.#answer ?? this.#required
    return strongest(this.#answer, this.#required)
  }
}
