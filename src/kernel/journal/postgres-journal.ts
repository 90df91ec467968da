import pg from 'pg'
import type { PooledClient } from '../persistence/connections.js'
import type { Journal, JournalMessage, JournalPage, NumberingResult, Place } from './journal.js'

interface PageRow {
  /** Null after a crash of Postgres, until a node has started a new epoch. */
  epoch: string | null
  head: string
  head_id: string | null
  after_id: string | null
  unnumbered: boolean
  contradicted: boolean
  clock_ms: number
  messages: MessageRow[]
}

type MessageRow = [position: number, numberingId: string, type: string, payload: unknown]

interface NumberingRow {
  epoch: string
  head: string
  head_id: string | null
  numbered: number
  messages: MessageRow[] | null
}

export interface PostgresJournalOptions {
  readonly databaseUrl: string
  /** The channel on which the numbering transaction sends `NOTIFY`; absent when hints go through Redis. */
  readonly notifyChannel?: (() => string) | undefined
  /** Milliseconds after which a call fails and its connection is closed. */
  readonly timeoutMs: number
  readonly applicationName: string
}

/** No epoch has this name. So `begin_epoch` starts one if there is none, and never ends one that another node has started. */
const noEpoch = ''

/**
 * Has connections of its own. If checks queued behind loads, the lease could end during a burst of misses, which would turn
 * the hits into further loads. It has two, so that a check need not wait for a numbering that waits for its lock.
 */
export class PostgresJournal implements Journal {
  #pool: pg.Pool

  constructor(private readonly options: PostgresJournalOptions) {
    this.#pool = this.#openPool()
  }

  /** Opens new connections, because the present ones may lead to a server that is no longer the primary. */
  replaceConnections(): void {
    const old = this.#pool
    this.#pool = this.#openPool()
    old.end().catch(() => {})
  }

  number(atMost: number): Promise<NumberingResult> {
    return this.numberOn(this.#pool, atMost)
  }

  async numberOn(connection: Pick<PooledClient, 'query'>, atMost: number): Promise<NumberingResult> {
    const { rows } = await connection.query({
      name: 'aftercommit-number',
      text: 'select epoch, head, head_id, numbered, messages from aftercommit_kernel.number_outbox($1, $2)',
      values: [atMost, this.options.notifyChannel?.() ?? null],
    })
    return resultOf(onlyRow(rows as readonly NumberingRow[]))
  }

  /**
   * Sends all statements in one message, which Postgres receives as a whole or not at all. A node that was paused between two
   * messages would block the numbering on every node. Deferred constraints are checked before the numbering takes its lock,
   * because such a check may wait for another transaction.
   */
  async numberAndCommit(connection: Pick<PooledClient, 'query'>, atMost: number) {
    const { notifyChannel } = this.options
    const channel = notifyChannel ? pg.escapeLiteral(notifyChannel()) : 'null'
    const answers = await connection.query(
      `set constraints all immediate;
       select epoch, head, head_id, numbered, messages
       from aftercommit_kernel.number_before_commit(${atMost}, ${channel});
       COMMIT`,
    )
    const [, numbered, committed] = answers as unknown as [
      unknown,
      pg.QueryResult<NumberingRow>,
      pg.QueryResult,
    ]
    const [row] = numbered.rows
    return { command: committed.command, numbering: row && resultOf(row) }
  }

  async read(after: number, atMost: number, places: readonly Place[] = []): Promise<JournalPage> {
    const { rows } = await this.#pool.query<PageRow>({
      name: 'aftercommit-read',
      text: 'select * from aftercommit_kernel.read_journal($1, $2, $3, $4)',
      values: [
        after,
        atMost,
        places.map(({ position }) => position),
        places.map(({ numberingId }) => numberingId),
      ],
    })
    const row = onlyRow(rows)
    if (row.epoch === null) {
      await this.beginEpoch(noEpoch)
      return this.read(after, atMost, places)
    }
    return {
      epoch: row.epoch,
      head: Number(row.head),
      headId: row.head_id,
      contradicted: row.contradicted,
      afterId: row.after_id,
      unnumbered: row.unnumbered,
      clockMs: row.clock_ms,
      messages: row.messages.map(messageOf),
    }
  }

  async beginEpoch(seen: string): Promise<string> {
    const { rows } = await this.#pool.query<{ epoch: string }>(
      'select aftercommit_kernel.begin_epoch($1) as epoch',
      [seen],
    )
    return onlyRow(rows).epoch
  }

  async installation(): Promise<{ namespace: string; secret: Buffer }> {
    const { rows } = await this.#pool.query<{ namespace: string; secret: Buffer }>(
      'select namespace, secret from aftercommit_kernel.installation',
    )
    return onlyRow(rows)
  }

  async close(): Promise<void> {
    await this.#pool.end()
  }

  #openPool(): pg.Pool {
    const { databaseUrl, applicationName, timeoutMs } = this.options
    const pool = new pg.Pool({
      connectionString: databaseUrl,
      application_name: `${applicationName} journal`,
      max: 2,
      connectionTimeoutMillis: timeoutMs,
      // The pool closes a connection whose query failed, so a connection that went silent is not borrowed again.
      query_timeout: timeoutMs,
      keepAlive: true,
    })
    // An idle connection that breaks is replaced at the next call. Without a listener the error would end the process.
    pool.on('error', () => {})
    return pool
  }
}

function resultOf(row: NumberingRow): NumberingResult {
  return {
    epoch: row.epoch,
    head: Number(row.head),
    headId: row.head_id,
    numbered: row.numbered,
    ...(row.messages && { messages: row.messages.map(messageOf) }),
  }
}

function messageOf([position, numberingId, type, payload]: MessageRow): JournalMessage {
  return { position, numberingId, type, payload }
}

function onlyRow<Row>(rows: readonly Row[]): Row {
  const [row] = rows
  if (!row)
    throw new Error(
      'A table of the kernel has no row: was aftercommit_kernel.journal_head or installation emptied?',
    )
  return row
}
