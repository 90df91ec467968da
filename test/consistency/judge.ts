import type { Consistency } from '../../src/kernel/journal/consistency.js'
import type { ConsistencyToken } from '../../src/kernel/journal/consistency-token.js'
import type { History, Reign } from './history.js'
import type { PostgresModel } from './postgres-model.js'
import { maxStalenessMs, type ServiceNode } from './service-node.js'
import type { SimulatedTime } from './simulated-time.js'

/** A promise that was broken: numbered as in the README. */
export class Violation extends Error {
  constructor(
    readonly promise: 1 | 2 | 3 | 4 | 5 | 6,
    message: string,
  ) {
    super(`promise ${promise}: ${message}`)
  }
}

/** What was so when a request arrived: everything that its answer is measured by. */
export interface Arrival {
  readonly at: number
  readonly epoch: string
  readonly position: number
  /** The newest commit to a key that the client has seen, or made, before; 0 for one without tokens. */
  readonly seen: (key: string) => number
}

/** What an answer has shown to its client. */
export interface Sighting {
  readonly key: string
  readonly moment: number
  /** Where it was a write: the newest commit when that began, as what was there by then is seen with it. */
  readonly everythingUpTo?: number
}

/**
 * What a client with tokens may not fall behind. Two transactions that were under way together may get their positions in
 * the other order than that of their commits (ADR 16): who has seen the one need not have seen the other, unless its
 * token says so.
 */
export class Seen {
  /** Every commit up to this one. */
  #everythingUpTo = 0
  readonly #commits = new Map<string, number>()
  #token: ConsistencyToken | undefined

  constructor(private readonly history: History) {}

  of(key: string): number {
    const token = this.#token
    const byToken =
      token && token.position !== 'pending' ? this.history.momentAt(token.epoch, token.position, key) : 0
    return Math.max(this.#everythingUpTo, this.#commits.get(key) ?? 0, byToken)
  }

  /** @param token what the client will ask with next; a pending one asks for all that is committed */
  answered(sightings: readonly Sighting[], token: ConsistencyToken | undefined): void {
    this.#token = token
    for (const { key, moment, everythingUpTo = 0 } of sightings) {
      this.#commits.set(key, Math.max(this.#commits.get(key) ?? 0, moment))
      const everything = token?.position === 'pending' ? moment : everythingUpTo
      this.#everythingUpTo = Math.max(this.#everythingUpTo, everything)
    }
  }
}

/** Holds every answer against what was committed when. */
export class Judge {
  /** From then on a request may fail, as Postgres was not there. */
  postgresWasAway = false

  constructor(
    private readonly history: History,
    private readonly postgres: PostgresModel,
    private readonly time: SimulatedTime,
    /** Whether the cache may answer, marked, what it knows to be older than a committed write. */
    private readonly allowInvalidated: boolean,
  ) {}

  arrival({ applied }: ServiceNode, seen: (key: string) => number): Arrival {
    return { at: this.time.now, epoch: applied.epoch, position: applied.position, seen }
  }

  answered(arrival: Arrival, key: string, value: string | null, consistency: Consistency): Sighting {
    const reigns = this.history.reignsOf(key).filter((reign) => reign.value === value)
    const what = `${key} = ${value}`
    if (reigns.length === 0) throw new Violation(1, `${what} was answered, but never committed`)
    const newest = reigns.at(-1) as Reign
    const end = newest.until ?? Number.POSITIVE_INFINITY
    if (end <= arrival.seen(key))
      throw new Violation(5, `${what} is older than what the client had seen or written`)
    const { stale, token } = consistency
    const applied = this.history.momentAt(arrival.epoch, arrival.position, key)
    if (end <= applied && !(stale && this.allowInvalidated))
      throw new Violation(3, `${what} was answered after the node had applied what replaced it`)
    if (newest.replacedAt !== undefined && !stale) {
      const behind = arrival.at - newest.replacedAt
      if (behind >= maxStalenessMs)
        throw new Violation(4, `${what} had been replaced ${behind} ms before the request arrived`)
    }
    if (token) this.#covers(token, what, newest)
    return { key, moment: newest.from }
  }

  /** What an answer's token says must include what the answer shows, or the next read could go back in time. */
  #covers({ epoch, position }: ConsistencyToken, what: string, { writtenBy }: Reign): void {
    if (position === 'pending' || epoch !== this.postgres.epoch || writtenBy === 0) return
    if (!this.history.covers(epoch, position, writtenBy))
      throw new Violation(5, `${what} was answered with token ${position}, which does not cover it`)
  }

  failed(what: string, error: unknown): void {
    if (this.postgresWasAway) return
    throw new Violation(6, `${what} failed although Postgres was there: ${String(error)}`)
  }

  applied(operation: string | undefined): void {
    if (operation !== undefined && !this.history.isCommitted(operation))
      throw new Violation(1, `what ${operation} wrote was invalidated, but it has not committed`)
  }

  /** Faults are over, and every node has made a check. */
  caughtUp(node: ServiceNode): void {
    const { epoch, position } = node.applied
    const { head, hasUnnumbered } = this.postgres
    if (hasUnnumbered)
      throw new Violation(2, `a committed event has no position after ${node.name} has checked`)
    if (epoch !== this.postgres.epoch || position !== head)
      throw new Violation(2, `${node.name} has applied ${position}, but the head is ${head}`)
  }

  finallyRead(node: ServiceNode, key: string, value: string | null): void {
    const now = this.postgres.rowOf(key)
    if (value !== now)
      throw new Violation(2, `in the end ${node.name} answers ${key} = ${value}, and it is ${now}`)
  }
}
