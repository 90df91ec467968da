import type { AppliedJournal } from './applied-journal.js'
import { type ConsistencyToken, strongest } from './consistency-token.js'
import type { StalenessCheck } from './staleness-check.js'

/** Why an answer is stale: its time to live is over, it was invalidated, or this node may have missed an invalidation. */
export type Staleness = 'expired' | 'invalidated' | 'unverified'

export interface StaleAnswer {
  readonly staleness: Staleness
  /** Milliseconds since its time to live was over; 0 if it is not. */
  readonly overdueMs: number
}

/** Where an answer came from. */
export type AnswerSource = 'l1' | 'l2' | 'miss' | 'bypass'
export type Tier = 'l1' | 'l2' | 'database'

/**
 * What one client request requires and has seen: the token that it came with, and the token to answer. The reads and writes
 * of the request pass it along. Two requests must not share one.
 */
export class Consistency {
  /** Where the latest read of this request was answered from. */
  source: AnswerSource | undefined
  /** Set once a read of this request was answered with a stale value. */
  stale: StaleAnswer | undefined
  #required: ConsistencyToken | undefined
  #answer: ConsistencyToken | undefined
  #satisfied: Promise<void> | undefined

  /**
   * @param required the token of the request, if it sent one
   * @param onlyTier the only tier to read (tests and demo)
   */
  constructor(
    private readonly check: StalenessCheck,
    private readonly applied: AppliedJournal,
    required?: ConsistencyToken,
    readonly onlyTier?: Tier,
  ) {
    this.#required = required
  }

  /** Whether any fresh value may answer the request: it sent no token, has not written, and wants no particular tier. */
  get isUndemanding(): boolean {
    return this.#required === undefined && this.onlyTier === undefined
  }

  /** The request may join a load only if that started at this position or later; 0 without a token. */
  get requiredPosition(): number {
    const position = this.#required?.position
    return typeof position === 'number' ? position : 0
  }

  /**
   * Makes this node as new as the request requires. Returns undefined if nothing is required, so that the usual read awaits
   * nothing.
   *
   * @throws what Postgres throws if it has to be asked
   */
  satisfy(): Promise<void> | undefined {
    const required = this.#required
    if (!required) return undefined
    this.#satisfied ??= this.check.satisfy(required).then((reached) => {
      // It replaces the request's own token: a pending one becomes a position, and a forged position that is too high is gone.
      this.#required = reached
      this.#answer = strongest(this.#answer, reached)
    })
    return this.#satisfied
  }

  /** A read was answered with a value that this node obtained at `obtainedAt` (monotonic ms). */
  answered(source: AnswerSource, obtainedAt: number, stale?: StaleAnswer): void {
    this.source = source
    this.stale ??= stale
    this.observed(this.applied.tokenOf(obtainedAt))
  }

  /** The request saw the state of this token. */
  observed(token: ConsistencyToken): void {
    this.#answer = strongest(this.#answer, token)
  }

  /**
   * The request ran a command: it wrote, or it read the database, where it may have seen writes without a position. Its own
   * later reads must not see an older state.
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
