import { execFile } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { pino } from 'pino'
import { readConfig } from '../../../src/config.js'
import { serializeError } from '../../../src/kernel/observability/error-serializer.js'
import { Node } from '../../../src/node.js'
import { compiledFile } from '../../../tools/local-stack/compiled-file.js'
import { createFreshDatabase, type FreshDatabase, query } from '../../support/fresh-database.js'
import { until } from '../../support/until.js'

/** In every row that the tests write, and nowhere else. */
const secret = 'kept-in-the-row'

let database: FreshDatabase
let node: Node
const lines: string[] = []
const log = () => lines.join('')

beforeAll(async () => {
  database = await createFreshDatabase()
  await query(
    database,
    `create function refuse_row() returns trigger language plpgsql as $$
     begin raise exception 'row %', new using detail = new::text, hint = new::text; end $$`,
  )
  const config = readConfig({
    DATABASE_URL: database.url,
    PORT: '0',
    RUN_MIGRATIONS: 'false',
    LOG_LEVEL: 'trace',
  })
  const serializers = { err: serializeError }
  node = new Node(
    config,
    pino({ level: config.LOG_LEVEL, serializers }, { write: (line) => void lines.push(line) }),
  )
  await node.start()
})
afterAll(async () => {
  await node.stop()
  await database.drop()
})

async function register(): Promise<number> {
  const response = await fetch(`${node.url}/users`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ email: `${secret}-${Math.random()}@example.org`, name: secret }),
  })
  expect(await response.text()).not.toContain('row (')
  return response.status
}

test('a row that a trigger tells does not reach the log, where the request or the event handler failed of it', async () => {
  await query(
    database,
    `create trigger refuse before insert on welcome_message for each row execute function refuse_row()`,
  )
  expect(await register()).toBe(201)
  await until('the event handler has failed', () => log().includes('an event handler failed'))
  await query(
    database,
    `create trigger refuse before insert on user_account for each row execute function refuse_row()`,
  )
  expect(await register()).toBe(500)
  expect(log()).toContain('a request failed')
  expect(log()).not.toContain(secret)
  expect(log()).toContain('"code":"P0001"')
  expect(log()).toContain('refuse_row() line 2 at RAISE')
})

test('the migrations find the database by a file, and say in one line why they cannot', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'migrate-'))
  const run = (env: Record<string, string>) =>
    promisify(execFile)(process.execPath, [compiledFile('tools/migrate.js')], {
      env: { PATH: process.env.PATH, ...env },
    }).then(
      ({ stdout }) => ({ code: 0, output: stdout }),
      ({ code, stderr }: { code: number; stderr: string }) => ({ code, output: stderr }),
    )
  const empty = await createFreshDatabase({ migrated: false })
  try {
    const file = join(folder, 'database-url')
    await writeFile(file, `${empty.url}\n`)
    expect(await run({ DATABASE_URL_FILE: file })).toEqual({
      code: 0,
      output: expect.stringMatching(/^Applied: Kernel1700000000000, .*\n$/),
    })
    expect(await run({ DATABASE_URL_FILE: join(folder, 'missing') })).toEqual({
      code: 2,
      output: 'aftercommit: DATABASE_URL_FILE: the file cannot be read (ENOENT)\n',
    })
    expect(await run({})).toEqual({ code: 2, output: 'aftercommit: DATABASE_URL is not set\n' })

    await query(empty, `delete from migrations where name like 'Pricing%'`)
    expect(await run({ DATABASE_URL: empty.url })).toEqual({
      code: 1,
      output: expect.stringMatching(
        /^aftercommit: the migration failed: .*relation "product" already exists.*\n$/,
      ),
    })
  } finally {
    await empty.drop()
    await rm(folder, { recursive: true })
  }
})
