import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'

const pollMs = 1
const limitMs = 5_000

/**
 * Reads the table itself, without any cache. Only this shows when a write was committed whose node died or never answered.
 */
export class CommitWitness {
  private constructor(
    private readonly client: pg.Client,
    private readonly table: string,
  ) {}

  /** @throws what Postgres answers */
  static async over(databaseUrl: string, table: string): Promise<CommitWitness> {
    const client = new pg.Client({ connectionString: databaseUrl, application_name: 'demo' })
    client.on('error', () => {})
    await client.connect()
    return new CommitWitness(client, pg.escapeIdentifier(table))
  }

  /**
   * Waits until Postgres shows this version, or a later one.
   *
   * @returns the moment, in ms on `performance.now()`
   * @throws Error after 5 s
   */
  async shown(id: string, version: number): Promise<number> {
    const limit = performance.now() + limitMs
    while (performance.now() < limit) {
      const { rows } = await this.client.query<{ version: number }>(
        `select version from ${this.table} where id = $1`,
        [id],
      )
      if ((rows[0]?.version ?? 0) >= version) return performance.now()
      await sleep(pollMs)
    }
    throw new Error(`a write was not committed within ${limitMs / 1000} s`)
  }

  async query(statement: string, values: readonly unknown[] = []): Promise<void> {
    await this.client.query(statement, [...values])
  }
}
