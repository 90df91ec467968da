import { randomBytes } from 'node:crypto'
import pg from 'pg'

/**
 * Runs one statement on a separate connection.
 *
 * @throws what Postgres answers, or an Error if it cannot be reached within 10 s
 */
export async function query(url: string, statement: string): Promise<void> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 10_000 })
  // An error between two statements is an event, which would end the process without a listener.
  client.on('error', () => {})
  try {
    await client.connect()
    await client.query(statement)
  } finally {
    await client.end().catch(() => {})
  }
}

export interface Databases {
  /**
   * Creates an empty database.
   *
   * @param name a random one by default
   * @returns its URL
   * @throws Error of Postgres, such as for a name that exists
   */
  create(name?: string): Promise<string>
  /** Drops all databases that `create` created, even if clients are still connected. */
  dropAll(): Promise<void>
}

/** Creates databases on the server of `serverUrl`. Its role must have CREATEDB. */
export function databasesOn(serverUrl: string): Databases {
  const created = new Set<string>()
  return {
    async create(name = `test_${randomBytes(6).toString('hex')}`) {
      // Not template1, because CREATE DATABASE fails while any other test is connected to it.
      await query(serverUrl, `CREATE DATABASE ${pg.escapeIdentifier(name)} TEMPLATE template0`)
      created.add(name)
      const url = new URL(serverUrl)
      url.pathname = `/${encodeURIComponent(name)}`
      return url.href
    },
    async dropAll() {
      for (const name of created) {
        await query(serverUrl, `DROP DATABASE IF EXISTS ${pg.escapeIdentifier(name)} WITH (FORCE)`)
        created.delete(name)
      }
    },
  }
}
