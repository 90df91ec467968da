import { describe, expect, test } from '@jest/globals'
import pg from 'pg'
import { pino } from 'pino'
import { QueryFailedError } from 'typeorm'
import { z } from '../../../src/kernel/domain/index.js'
import { lineOf, serializeError } from '../../../src/kernel/observability/error-serializer.js'

const row = 'ada@example.org'

/** As `pg` makes it of what Postgres has answered. */
function refused(fields: Record<string, unknown>): Error {
  const { message = '', ...rest } = fields
  const error = new pg.DatabaseError(String(message), 1, 'error')
  return Object.assign(error, { severity: 'ERROR', file: 'execMain.c', routine: 'ExecConstraints' }, rest)
}

const failed = (fields: Record<string, unknown>) =>
  new QueryFailedError(`update "user_account" set email = '${row}'`, [row], refused(fields))

/** The whole line, as pino writes it. */
function logged(error: unknown): string {
  const lines: string[] = []
  const logger = pino({ serializers: { err: serializeError } }, { write: (text) => void lines.push(text) })
  logger.error({ err: error }, 'it failed')
  return lines.join('')
}

const raised = { file: 'pl_exec.c', routine: 'exec_stmt_raise', message: `row (1,${row})` }

const leaks: [string, Error][] = (
  [
    ['an exception of a trigger', { ...raised, code: 'P0001' }],
    ['one with the code of a constraint', { ...raised, code: '23505' }],
    ['one with a code whose messages are harmless otherwise', { ...raised, code: '42501' }],
    ['one with a code of its own', { ...raised, code: 'AC001' }],
    [
      'one that names a table and a column as it likes',
      { ...raised, code: 'P0001', table: row, column: row },
    ],
    ['one of another language', { ...raised, file: 'plpy_elog.c', code: '38000' }],
    ['one whose message looks like a stack', { ...raised, code: 'P0001', message: `x\n    at ${row}` }],
    ['a failed assertion', { ...raised, routine: 'exec_stmt_assert', code: 'P0004' }],
    ['a text that is no uuid', { code: '22P02', message: `invalid input syntax for type uuid: "${row}"` }],
    ['a date', { code: '22008', message: `date/time field value out of range: "${row}"` }],
    [
      'a unique violation',
      { code: '23505', message: 'duplicate key', detail: `Key (email)=(${row}) already exists.` },
    ],
    ['a check', { code: '23514', message: 'violates', detail: `Failing row contains (${row}).` }],
    ['a syntax error', { code: '42601', message: `syntax error at or near "${row}"` }],
    [
      'a hint and a context',
      {
        code: '42703',
        message: 'no such column',
        hint: row,
        where: `unnamed portal parameter $1 = '${row}'`,
      },
    ],
    ['an inner statement', { code: '42703', message: 'no such column', internalQuery: `select '${row}'` }],
  ] as [string, Record<string, unknown>][]
).flatMap(([name, fields]): [string, Error][] => [
  [name, refused(fields)],
  [`${name}, wrapped by TypeORM`, failed(fields)],
  [`${name}, as a cause`, new Error('renaming failed', { cause: failed(fields) })],
  [
    `${name}, repeated by whoever caught it`,
    new Error(`renaming failed: ${failed(fields).message}`, { cause: failed(fields) }),
  ],
  [`${name}, among others`, new AggregateError([new Error('first'), failed(fields)], 'all failed')],
])

leaks.push([
  'a detail of an error whose message is harmless, repeated by whoever caught it',
  new Error(`renaming failed: ${row}`, {
    cause: refused({ code: '42501', message: 'permission denied', detail: row }),
  }),
])

describe('an error in the log', () => {
  test.each(leaks)('has no value of a row: %s', (_, error) => {
    expect(logged(error)).not.toContain(row)
  })

  test('tells where and why all the same', () => {
    const error = failed({
      code: 'P0001',
      ...raised,
      where: `PL/pgSQL function app.refuse_rename(uuid, text) line 3 at RAISE\nSQL statement "update t set name = '${row}'"`,
    })
    const { err } = JSON.parse(logged(error))
    expect(err).toMatchObject({
      type: 'QueryFailedError',
      message: 'Postgres: an exception that a function raised, P0001',
      code: 'P0001',
      severity: 'ERROR',
      where: ['app.refuse_rename(uuid, text) line 3 at RAISE'],
      statement: 'update "user_account"',
    })
    expect(err.stack).toMatch(
      /^QueryFailedError: Postgres: an exception that a function raised, P0001\n {4}at .*error-serializer\.test/,
    )
    expect(lineOf(error)).toBe(
      'Postgres: an exception that a function raised, P0001 (code P0001, where app.refuse_rename(uuid, text) line 3 at RAISE)',
    )
  })

  test('names the constraint and the table', () => {
    const error = failed({
      code: '23505',
      message: 'x',
      table: 'user_account',
      constraint: 'user_account_email_key',
    })
    expect(serializeError(error)).toMatchObject({
      message: 'Postgres: unique violation, 23505',
      table: 'user_account',
      constraint: 'user_account_email_key',
    })
  })

  test.each([
    ['42501', 'permission denied for table product'],
    ['40P01', 'deadlock detected'],
    ['53300', 'sorry, too many clients already'],
    ['28P01', 'password authentication failed for user "service"'],
    ['57014', 'canceling statement due to statement timeout'],
  ])('keeps what Postgres itself says of objects and limits: %s', (code, message) => {
    expect(serializeError(failed({ code, message })).message).toBe(message)
    expect(serializeError(refused({ code, message })).message).toBe(message)
  })

  test('has no password or argument of a command to Redis', () => {
    const error = Object.assign(new Error(`ERR unknown command 'x', with args beginning with: '${row}'`), {
      command: { name: 'auth', args: [row] },
    })
    expect(logged(error)).not.toContain(row)
    expect(serializeError(error)).toMatchObject({ message: `ERR unknown command 'x'`, statement: 'auth' })
  })

  test('has the fields that a payload lacks, and not what stands there', () => {
    const parsed = z.object({ user: z.object({ email: z.uuid() }) }).safeParse({ user: { email: row } })
    expect(logged(parsed.error)).not.toContain(row)
    expect(serializeError(parsed.error).message).toBe('Invalid input: user.email: invalid_format')
  })

  test('is as long as it may be, whatever it is of, and the log goes on', () => {
    const cyclic = new Error('cyclic')
    cyclic.cause = cyclic
    const hostile = new Error('hostile')
    Object.defineProperty(hostile, 'cause', { get: () => JSON.parse('{') })
    for (const thrown of [
      cyclic,
      hostile,
      new Error('x'.repeat(1e6)),
      'a string',
      { secret: row },
      null,
      undefined,
      7,
    ]) {
      const line = logged(thrown)
      expect(line.length).toBeLessThan(25_000)
      expect(line).not.toContain(row)
      expect(line).toContain('it failed')
    }
  })

  test('keeps what Node tells of a connection', () => {
    const error = Object.assign(new Error('connect ECONNREFUSED 127.0.0.1:5432'), {
      code: 'ECONNREFUSED',
      errno: -111,
      syscall: 'connect',
      address: '127.0.0.1',
      port: 5432,
    })
    expect(serializeError(error)).toMatchObject({
      type: 'Error',
      message: error.message,
      code: 'ECONNREFUSED',
      syscall: 'connect',
      port: 5432,
    })
  })
})
