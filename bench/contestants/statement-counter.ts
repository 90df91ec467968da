import type pg from 'pg'

/** Counts what is sent over the connections of a pool. */
export class StatementCounter {
  sent = 0
  readonly #counted = new WeakSet<pg.PoolClient>()

  constructor(pool: pg.Pool) {
    pool.on('acquire', (client) => {
      if (this.#counted.has(client)) return
      this.#counted.add(client)
      const query = client.query.bind(client) as (...given: unknown[]) => unknown
      client.query = ((...given: unknown[]) => {
        this.sent++
        return query(...given)
      }) as typeof client.query
    })
  }
}
