import type { PooledClient } from '../persistence/connections.js'

/** An event with its place in the one order that all nodes agree on. */
export interface JournalMessage {
  /** 1 and up, without gaps, in the order of commit. */
  readonly position: number
  /** The numbering call that gave the position; two histories of one database differ in it. */
  readonly numberingId: string
  readonly type: string
  readonly payload: unknown
}

export interface JournalHead {
  /** Which history of which database this is; positions of different epochs do not compare. */
  readonly epoch: string
  /** 0 while nothing has been numbered. */
  readonly head: number
  readonly headId: string | null
}

export interface NumberingResult extends JournalHead {
  /** How many rows this call numbered: they are `head - numbered + 1 … head`. */
  readonly numbered: number
  /** Those rows, ascending, if they are few; else they have to be read. */
  readonly messages?: readonly JournalMessage[]
}

/** A position together with who gave it: what one history of a database claims. */
export interface Place {
  readonly position: number
  readonly numberingId: string
}

/** What one snapshot of the database shows. */
export interface JournalPage extends JournalHead {
  /** Committed rows without a position existed in that snapshot. */
  readonly unnumbered: boolean
  /** Who numbered the position asked for; null if that row is gone. */
  readonly afterId: string | null
  /** A row exists at one of the places asked about, and was numbered by another call. */
  readonly contradicted: boolean
  /** Ms since 1970 by the clock of Postgres: the cluster's clock. */
  readonly clockMs: number
  /** Ascending, of positions greater than the one asked for, at most as many as asked for. */
  readonly messages: readonly JournalMessage[]
}

/** The protocol's side of Postgres. Every call may reject; none holds a lock when it has returned. */
export interface Journal {
  /** Numbers committed rows, at most `atMost`, in a short transaction of its own. */
  number(atMost: number): Promise<NumberingResult>
  /**
   * As `number`, sent at once behind whatever has been sent on a borrowed connection. This and the next are absent
   * where a journal has nothing to do with that connection's database.
   */
  numberOn?(connection: Pick<PooledClient, 'query'>, atMost: number): Promise<NumberingResult>
  /**
   * Numbers in the transaction of a borrowed connection, its own events among the others, and commits it. Declines rather
   * than wait for another numbering, and where others might have to wait long for this one.
   *
   * @throws whatever COMMIT may; nothing has a position then
   */
  numberAndCommit?(
    connection: Pick<PooledClient, 'query'>,
    atMost: number,
  ): Promise<{ readonly command: string; readonly numbering?: NumberingResult | undefined }>
  /**
   * Head, messages after a position, whether any are unnumbered, and whether places still hold: one statement, one
   * snapshot, no lock.
   */
  read(after: number, atMost: number, places?: readonly Place[]): Promise<JournalPage>
  /** Declares the history `seen` to be over, unless somebody has done so; returns the present epoch. */
  beginEpoch(seen: string): Promise<string>
}
