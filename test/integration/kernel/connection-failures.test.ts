import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import pg from 'pg'
import { isConnectionFailure } from '../../../src/kernel/persistence/persistence-errors.js'
import { createFreshDatabase, type FreshDatabase } from '../../support/fresh-database.js'

describe('what is told apart as a failure of the connection, and tried again or answered as 503', () => {
  let database: FreshDatabase
  beforeAll(async () => {
    database = await createFreshDatabase()
  })
  afterAll(() => database.drop())

  async function connected(): Promise<pg.Client> {
    const client = new pg.Client({ connectionString: database.url })
    client.on('error', () => {})
    await client.connect()
    return client
  }

  const failureOf = (statement: Promise<unknown>): Promise<unknown> =>
    statement.then(
      () => undefined,
      (error: unknown) => error,
    )

  async function terminate(client: pg.Client): Promise<void> {
    const killer = await connected()
    await killer.query('select pg_terminate_backend($1)', [
      (client as unknown as { processID: number }).processID,
    ])
    await killer.end()
  }

  test('a statement that was under way when the connection ended', async () => {
    const client = await connected()
    const failure = failureOf(client.query('select pg_sleep(60)'))
    await terminate(client)
    expect(isConnectionFailure(await failure)).toBe(true)
  })

  test('a statement on a connection that had ended before, unnoticed', async () => {
    const client = await connected()
    const ended = new Promise((resolve) => client.once('end', resolve))
    await terminate(client)
    await ended
    const failure = await failureOf(client.query('select 1'))
    expect(failure).toBeInstanceOf(Error)
    expect(isConnectionFailure(failure)).toBe(true)
  })

  test('a statement on a connection that this node has closed', async () => {
    const client = await connected()
    await client.end()
    expect(isConnectionFailure(await failureOf(client.query('select 1')))).toBe(true)
  })

  test('not a statement that Postgres refused', async () => {
    const client = await connected()
    expect(isConnectionFailure(await failureOf(client.query('select nothing_of_the_kind')))).toBe(false)
    await client.end()
  })
})
