import pg from 'pg'
import type { PooledClient } from '../persistence/connections.js'
import type { Journal, JournalMessage, JournalPage, NumberingResult, Place } from './journal.js'

interface PageRow {
  /** Null after a crash of Postgres, until somebody has begun another. */
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
  /** Where to `NOTIFY` in the numbering transaction, asked for at each; absent when hints go over Redis. */
  readonly notifyChannel?: (() => string) | undefined
  /** Milliseconds after which a call is given up and its connection thrown away. */
  readonly timeoutMs: number
  readonly applicationName: string
}

/** Is never the present one, so that none is ended that has begun meanwhile. */
const noEpoch = ''

/**
 * Has connections of its own: were checks to queue behind loads, a burst of misses could starve the very
 * check that would end it. Two of them, so that a check does not wait behind a numbering that waits for its lock.
 */
export class PostgresJournal implements Journal {
  #pool: pg.Pool

  constructor(private readonly options: PostgresJournalOptions) {
    this.#pool = this.#openPool()
  }

  /** Every connection opened so far may lead to a server that is no longer the primary. */
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
   * One message, which Postgres has as a whole or not at all: of two, a node that is paused between them would keep the
   * numbering's lock from everybody. Deferred constraints come first, as one may wait for another transaction.
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
      // The pool closes a connection whose query failed, so one that went silent is not borrowed again.
      query_timeout: timeoutMs,
      keepAlive: true,
    })
    // An idle connection that breaks is replaced at the next call; without a listener it would end the process.
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
    throw new Error('The journal has no head row: has somebody emptied aftercommit_kernel.journal_head?')
  return row
}
