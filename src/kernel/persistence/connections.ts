import type { Writable } from 'node:stream'
import type { DataSource, QueryRunner } from 'typeorm'
import { isConnectionFailure, isStalePlan } from './persistence-errors.js'

/** The part of a pooled `pg` client that is used here. It sends statements at once, in order, and does not wait for replies. */
export interface PooledClient {
  end(): Promise<void>
  query(
    statement: string | PreparedStatement,
  ): Promise<{ readonly command: string; readonly rows: readonly unknown[] }>
  /** Not part of `pg`'s documented interface. Where it is missing, each statement is a separate write to the socket. */
  readonly connection?: { readonly stream?: Pick<Writable, 'cork' | 'uncork'> }
}

export interface PreparedStatement {
  readonly name: string
  readonly text: string
  readonly values: unknown[]
}

/** A connection leads to a standby, where data may be older than any bound. */
class StandbyError extends Error {
  readonly code = 'ESTANDBY'
  constructor() {
    super('The database is a standby; a primary is needed')
  }
}

/**
 * Lends connections, and does not reuse broken ones. After a timeout, `pg` leaves the query on its connection, and the next
 * borrower would wait behind it until TCP gives up. After a failover, a pooled connection may still lead to the old primary.
 */
export class Connections {
  #generation = 0
  readonly #generations = new WeakMap<PooledClient, number>()

  constructor(readonly dataSource: DataSource) {}

  /** Each connection opened so far is closed and replaced when it is next borrowed. */
  replaceAll(): void {
    this.#generation++
  }

  /**
   * @param work may call `keepUntil` to keep the connection until a last statement is answered, after `work` has ended
   * @throws what `work` throws, or the error of connecting
   */
  async borrow<Result>(
    work: (
      runner: QueryRunner,
      client: PooledClient,
      keepUntil: (answered: Promise<unknown>) => void,
    ) => Promise<Result>,
  ): Promise<Result> {
    const { runner, client } = await this.#connect()
    let last: Promise<unknown> | undefined
    try {
      return await work(runner, client, (answered) => {
        last = answered
      })
    } catch (error) {
      // The other connections have prepared the same statements, and would fail one after the other.
      if (isStalePlan(error)) this.replaceAll()
      if (runner.isTransactionActive || isConnectionFailure(error)) discard(client)
      throw error
    } finally {
      if (last) void last.catch(() => discard(client)).then(() => runner.release())
      else await runner.release()
    }
  }

  async #connect(): Promise<{ runner: QueryRunner; client: PooledClient }> {
    for (;;) {
      const runner = this.dataSource.createQueryRunner()
      try {
        const client = (await runner.connect()) as PooledClient
        const generation = this.#generations.get(client)
        if (generation === undefined) await this.#refuseStandby(client)
        if (generation === undefined || generation === this.#generation) return { runner, client }
        discard(client)
      } catch (error) {
        await runner.release()
        throw error
      }
      await runner.release()
    }
  }

  /** Checked once for each new connection, because after a failover the address may lead to a standby. */
  async #refuseStandby(client: PooledClient): Promise<void> {
    const generation = this.#generation
    try {
      const { rows } = await client.query('select pg_is_in_recovery() as standby')
      if ((rows[0] as { standby: boolean }).standby) throw new StandbyError()
      this.#generations.set(client, generation)
    } catch (error) {
      discard(client)
      throw error
    }
  }
}

/**
 * Sends all statements of the present run of microtasks in one write to the socket. The writes are half of a command's time in
 * this process: one write less, of four, raised the rate of commands by 3 %.
 */
export function inOneWrite({ connection }: Pick<PooledClient, 'connection'>): void {
  const stream = connection?.stream
  if (!stream) return
  stream.cork()
  process.nextTick(() => stream.uncork())
}

function discard(client: PooledClient): void {
  client.end().catch(() => {})
}
