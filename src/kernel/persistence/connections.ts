import type { Writable } from 'node:stream'
import type { DataSource, QueryRunner } from 'typeorm'
import { isConnectionFailure, isStalePlan } from './persistence-errors.js'

/** What is used of a pooled `pg` client. It sends what it is given at once, in this order, with no need to wait for answers. */
export interface PooledClient {
  end(): Promise<void>
  query(
    statement: string | PreparedStatement,
  ): Promise<{ readonly command: string; readonly rows: readonly unknown[] }>
  /** Not of `pg`'s documented interface: where it is missing, each statement is a write of its own. */
  readonly connection?: { readonly stream?: Pick<Writable, 'cork' | 'uncork'> }
}

export interface PreparedStatement {
  readonly name: string
  readonly text: string
  readonly values: unknown[]
}

/** A connection led to a server that only follows: what is read there may be older than any bound. */
class StandbyError extends Error {
  readonly code = 'ESTANDBY'
  constructor() {
    super('The database is a standby; a primary is needed')
  }
}

/**
 * Lends one connection at a time, and takes no broken one back. `pg` leaves a query that timed out on its
 * connection, so the next borrower would queue behind it until TCP gives up; and after a failover a pooled
 * connection may still lead to the old primary.
 */
export class Connections {
  #generation = 0
  readonly #generations = new WeakMap<PooledClient, number>()

  constructor(readonly dataSource: DataSource) {}

  /** Every connection opened so far is closed when it is next borrowed. */
  replaceAll(): void {
    this.#generation++
  }

  /**
   * @param work may have the connection kept beyond its own end, until what it has sent last is answered
   * @throws what `work` throws, or the failure to connect
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
      // All of them have prepared the same statements, and would fail one after the other.
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

  /** Once for each new connection, as a failover may have turned the address into a standby's. */
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
 * Has what is sent from now on, until no microtask is left, go out in one write to the socket. A write of its own for
 * each statement is half of a command's time in this process; one less of four won 3 % of commands.
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
