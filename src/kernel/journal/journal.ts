import type { PooledClient } from '../persistence/connections.js'

/** An event with its position in the order that all nodes share. */
export interface JournalMessage {
  /** From 1, without gaps, in the order of commits. Transactions that overlap may have either order. */
  readonly position: number
  /** The numbering call that gave the position. Two histories of one database differ in it. */
  readonly numberingId: string
  readonly type: string
  readonly payload: unknown
}

export interface JournalHead {
  /** Identifies the database and its history. Positions of different epochs cannot be compared. */
  readonly epoch: string
  /** The last position; 0 before anything was numbered. */
  readonly head: number
  readonly headId: string | null
}

export interface NumberingResult extends JournalHead {
  /** How many rows this call numbered: those from `head - numbered + 1` to `head`. */
  readonly numbered: number
  /** Those rows in ascending order, if they are few. Otherwise the caller has to read them. */
  readonly messages?: readonly JournalMessage[]
}

/** A position and the numbering call that gave it. Together they show whether two histories agree. */
export interface Place {
  readonly position: number
  readonly numberingId: string
}

/** What a check reads, all of it in one snapshot of the database. */
export interface JournalPage extends JournalHead {
  /** Whether there are committed rows without a position. */
  readonly unnumbered: boolean
  /** The numbering call of the position after which was read; null if that row does not exist. */
  readonly afterId: string | null
  /** Whether another call has numbered one of the given places. */
  readonly contradicted: boolean
  /** Ms since 1970 by the clock of Postgres, which is the clock of the cluster. */
  readonly clockMs: number
  /** In ascending order, those that follow the given position. */
  readonly messages: readonly JournalMessage[]
}

/** What the protocol asks of Postgres. Every call may reject. None holds a lock after it has returned. */
export interface Journal {
  /** Gives positions to committed rows, at most `atMost`, in a short transaction of its own. */
  number(atMost: number): Promise<NumberingResult>
  /**
   * Like `number`, but on a borrowed connection, and sent at once behind what was sent on it before. A journal that does not
   * use the database of that connection has neither this method nor the next.
   */
  numberOn?(connection: Pick<PooledClient, 'query'>, atMost: number): Promise<NumberingResult>
  /**
   * Gives positions in the transaction of a borrowed connection, including that transaction's own events, and commits it. It
   * commits without numbering if it would have to wait for another numbering, or if others might wait long for this one.
   *
   * @throws whatever COMMIT throws
   */
  numberAndCommit?(
    connection: Pick<PooledClient, 'query'>,
    atMost: number,
  ): Promise<{ readonly command: string; readonly numbering?: NumberingResult | undefined }>
  /**
   * Reads the head, the messages after a position, whether any rows have no position, and whether the places still exist. It
   * is one statement, with one snapshot and without a lock.
   */
  read(after: number, atMost: number, places?: readonly Place[]): Promise<JournalPage>
  /** Ends the epoch `seen`, unless another node has ended it already. Returns the present epoch. */
  beginEpoch(seen: string): Promise<string>
}
