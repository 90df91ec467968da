import { randomBytes } from 'node:crypto'
import pg from 'pg'

/**
 * Runs one statement on a connection of its own.
 *
 * @throws what Postgres answers; Error when it cannot be reached within 10 s
 */
export async function query(url: string, statement: string): Promise<void> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 10_000 })
  // An error between two statements is an event of its own, which without a listener ends the process.
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
   * @param name default: a random one
   * @returns its URL
   * @throws Error of Postgres, such as for a name that exists
   */
  create(name?: string): Promise<string>
  /** Drops what `create` created, whoever is still connected. */
  dropAll(): Promise<void>
}

/** Databases on the server of `serverUrl`, whose role must have CREATEDB. */
export function databasesOn(serverUrl: string): Databases {
  const created = new Set<string>()
  return {
    async create(name = `test_${randomBytes(6).toString('hex')}`) {
      // Not template1: a session in it, of any other test, makes CREATE DATABASE fail.
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
