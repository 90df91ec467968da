import type { DataSource, QueryRunner } from 'typeorm'
import { isConnectionFailure } from './persistence-errors.js'

/** What is used here of a pooled `pg` client. */
interface PooledClient {
  end(): Promise<void>
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

  /** @throws what `work` throws, or the failure to connect */
  async borrow<Result>(work: (runner: QueryRunner) => Promise<Result>): Promise<Result> {
    const { runner, client } = await this.#connect()
    try {
      return await work(runner)
    } catch (error) {
      if (runner.isTransactionActive || isConnectionFailure(error)) discard(client)
      throw error
    } finally {
      await runner.release()
    }
  }

  async #connect(): Promise<{ runner: QueryRunner; client: PooledClient }> {
    for (;;) {
      const runner = this.dataSource.createQueryRunner()
      let client: PooledClient
      try {
        client = (await runner.connect()) as PooledClient
      } catch (error) {
        await runner.release()
        throw error
      }
      const generation = this.#generations.get(client) ?? this.#generation
      this.#generations.set(client, generation)
      if (generation === this.#generation) return { runner, client }
      discard(client)
      await runner.release()
    }
  }
}

function discard(client: PooledClient): void {
  client.end().catch(() => {})
}
