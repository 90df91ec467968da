import type { ConsistencyToken } from '../../src/kernel/journal/consistency-token.js'
import type { Load, RowRead } from './ledger.js'
import type { Effect } from './reference-model.js'

/** An invalidation by hand that a client knows to be done. */
export interface OwnInvalidation {
  /** Ms at which it was asked for: what was loaded by then is older than it. */
  readonly askedAt: number
  readonly effect: Effect
  readonly reaches: (load: Load) => boolean
}

/** What a request may not fall behind, as its token was answered with it. */
export interface Known {
  /** The version of each row. */
  readonly versions: ReadonlyMap<string, number>
  readonly invalidations: readonly OwnInvalidation[]
}

/** One client. Without tokens it knows nothing that it could hold the service to. */
export class Session {
  token: ConsistencyToken | undefined
  readonly #versions = new Map<string, number>()
  readonly #invalidations: OwnInvalidation[] = []

  constructor(readonly sendsTokens: boolean) {}

  get known(): Known {
    return this.sendsTokens
      ? { versions: new Map(this.#versions), invalidations: [...this.#invalidations] }
      : { versions: new Map(), invalidations: [] }
  }

  /** @param token of the answer; one that came earlier stands for less, unless it is of this answer, too */
  answered(token: ConsistencyToken | undefined): void {
    if (token) this.token = token
  }

  sawRows(
    read: readonly RowRead[],
    versionOf: (row: string, value: string | null) => number | undefined,
  ): void {
    for (const [row, value] of read) this.sawVersion(row, versionOf(row, value) ?? 0)
  }

  sawVersion(row: string, version: number): void {
    this.#versions.set(row, Math.max(this.#versions.get(row) ?? 0, version))
  }

  invalidated(own: OwnInvalidation): void {
    this.#invalidations.push(own)
  }
}
