/** An error as the log has it. Beside the type, the message and the stack, a field is there where the error has it. */
export interface LoggedError {
  readonly type: string
  readonly message: string
  /** Begins with type and message, as here, and not with the error's own. */
  readonly stack?: string
  /** Of the operating system or Node (`ECONNREFUSED`), of a library, or the SQLSTATE. */
  readonly code?: string | number
  /** The functions of PL/pgSQL that it comes from, innermost first: `welcome() line 3 at RAISE`. */
  readonly where?: readonly string[]
  /** Verb and table of the statement that failed. */
  readonly statement?: string
  readonly cause?: LoggedError
  /** Of an AggregateError; the first few. */
  readonly errors?: readonly LoggedError[]
  readonly [field: string]: unknown
}

/** Characters, levels of causes, and errors of one AggregateError that are logged at most. */
const longestField = 200
const longestMessage = 2_000
const longestStack = 8_000
const mostLevels = 5
const mostErrors = 5

/** Of Node's errors, of Postgres's and of Fastify's: names and numbers. */
const safeFields = [
  ...['errno', 'syscall', 'address', 'port', 'statusCode'],
  ...['severity', 'routine', 'position', 'schema', 'table', 'column', 'constraint', 'dataType'],
]
/** What a function that raises an exception can set to anything. */
const settableFields = ['schema', 'table', 'column', 'constraint', 'dataType']

/**
 * Classes of SQLSTATE whose messages name objects, roles and limits, but no values: connection, feature, transaction,
 * statement, role, database, schema, rollback, definition, resources, limits, object state, operator, system, configuration;
 * and corrupted data. Not 42601, 42602 and 42622, which quote the statement.
 */
const namesOnly = /^(08|0A|25|26|28|2B|3D|3F|40|42(?!601|602|622)|53|54|55|57|58|F0|XX00[12])/

const conditions: Readonly<Record<string, string>> = {
  '22001': 'a string that is too long',
  '22003': 'a number that is out of range',
  '22P02': 'a text that does not read as its type',
  '23502': 'not-null violation',
  '23503': 'foreign-key violation',
  '23505': 'unique violation',
  '23514': 'check violation',
  '23P01': 'exclusion violation',
  P0001: 'an exception that a function raised',
}
const classes: Readonly<Record<string, string>> = {
  '22': 'data exception',
  '23': 'integrity constraint violation',
  '42': 'syntax error',
  P0: 'error in PL/pgSQL',
  XX: 'internal error',
}

type Fields = Readonly<Record<string, unknown>>

/**
 * What the log may have of an error: whatever tells where and why, and no values of rows, parameters or commands. A list
 * of what is let through, as drivers add fields: Postgres tells the row in its message (a trigger's `raise exception 'row %',
 * new`), in detail, hint and context; TypeORM attaches the parameters; ioredis the command with the password of AUTH.
 *
 * @returns for whatever was thrown; never throws
 */
export function serializeError(error: unknown): LoggedError {
  try {
    return describe(error, hiddenTextsOf(error, 0), 0)
  } catch {
    return { type: typeof error, message: 'an error that cannot be described' }
  }
}

/** In one line, for a person at a terminal. */
export function lineOf(error: unknown): string {
  const { message, code, table, constraint, where = [] } = serializeError(error)
  const details = Object.entries({ code, table, constraint, where: where[0] })
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => `${name} ${String(value)}`)
  return `${message.replaceAll(/\s+/g, ' ')}${details.length > 0 ? ` (${details.join(', ')})` : ''}`
}

function describe(error: unknown, hidden: readonly string[], level: number): LoggedError {
  if (!(error instanceof Error)) {
    return { type: typeof error, message: typeof error === 'string' ? clean(error, hidden) : 'not an error' }
  }
  const source = sourceOf(error)
  const type = error.constructor.name
  const message = clean(messageOf(error, source), hidden)
  const { code, cause, errors } = error as Error & Fields
  const isRaised = isRaisedByFunction(source)
  const safe = safeFields.flatMap((field) => {
    if (isRaised && settableFields.includes(field)) return []
    const value = source[field]
    if (typeof value === 'number') return [[field, value]]
    return typeof value === 'string' ? [[field, value.slice(0, longestField)]] : []
  })
  const statement = statementOf(error as Error & Fields)
  const where = whereOf(source)
  return {
    type,
    message,
    stack: `${type}: ${message}\n${framesOf(error)}`.slice(0, longestStack),
    ...(typeof code === 'number' && { code }),
    ...(typeof code === 'string' && { code: code.slice(0, longestField) }),
    ...Object.fromEntries(safe),
    ...(where.length > 0 && { where }),
    ...(statement !== undefined && { statement }),
    ...(level < mostLevels && cause !== undefined && { cause: describe(cause, hidden, level + 1) }),
    ...(level < mostLevels &&
      Array.isArray(errors) && {
        errors: errors.slice(0, mostErrors).map((each) => describe(each, hidden, level + 1)),
      }),
  }
}

/** What Postgres said; TypeORM wraps it. */
function sourceOf(error: Error): Fields {
  const { driverError } = error as Error & Fields
  return (driverError instanceof Error ? driverError : error) as unknown as Fields
}

function isOfPostgres({ severity, code }: Fields): boolean {
  return typeof severity === 'string' && typeof code === 'string' && /^[0-9A-Z]{5}$/.test(code)
}

/** With any SQLSTATE and any message: Postgres tells in which of its files that was, such as `pl_exec.c`. */
function isRaisedByFunction(source: Fields): boolean {
  return isOfPostgres(source) && /^pl/i.test(String(source.file))
}

function isHidden(source: Fields): boolean {
  return isOfPostgres(source) && (isRaisedByFunction(source) || !namesOnly.test(source.code as string))
}

function messageOf(error: Error, source: Fields): string {
  if (isHidden(source)) {
    const code = source.code as string
    const condition = isRaisedByFunction(source) ? 'P0001' : code
    return `Postgres: ${conditions[condition] ?? classes[code.slice(0, 2)] ?? 'an error'}, ${code}`
  }
  const { issues, command } = error as Error & Fields
  // Of zod, whose messages are the author's.
  if (Array.isArray(issues)) {
    const lines = (issues as Fields[]).map(
      ({ path, code }) => `${Array.isArray(path) ? path.join('.') : ''}: ${String(code)}`,
    )
    return `It does not validate: ${lines.join(', ')}`
  }
  // Redis repeats what it does not understand.
  return command ? error.message.replace(/, with args beginning with[\s\S]*$/, '') : error.message
}

/** What others may have made part of their message, as `new Error(`…: ${error.message}`)` does. */
function hiddenTextsOf(error: unknown, level: number): string[] {
  if (!(error instanceof Error) || level > mostLevels) return []
  const { cause, errors } = error as Error & Fields
  const inner = [cause, ...(Array.isArray(errors) ? errors.slice(0, mostErrors) : [])]
  const source = sourceOf(error)
  const own = isHidden(source) ? [source.message, source.detail, error.message] : [source.detail]
  return [
    ...own.filter((text): text is string => typeof text === 'string' && text.length > 3),
    ...inner.flatMap((each) => hiddenTextsOf(each, level + 1)),
  ]
}

function clean(text: string, hidden: readonly string[]): string {
  return hidden.reduce((rest, part) => rest.replaceAll(part, '[…]'), text).slice(0, longestMessage)
}

/** Without the header, in which the message stands; its own lines could look like frames. */
function framesOf({ stack = '', message }: Error): string {
  const start = message === '' ? -1 : stack.indexOf(message)
  const lines = stack.slice(start < 0 ? 0 : start + message.length).split('\n')
  return lines.filter((line) => /^ {4}at /.test(line)).join('\n')
}

/** Of the context, the lines that name functions: others repeat statements and parameters. */
function whereOf({ where }: Fields): string[] {
  if (typeof where !== 'string') return []
  const found = where.matchAll(/^PL\/pgSQL function ([\w.$"]+\([\w ,.[\]"]*\) line \d+ at [A-Za-z ]+)$/gm)
  return [...found].slice(0, mostErrors).map(([, place = '']) => place.slice(0, longestField))
}

function statementOf({ query, command }: Fields): string | undefined {
  if (typeof query === 'string') {
    const [found] =
      /^\s*(?:with|(?:select|insert\s+into|update|delete\s+from|lock\s+table)\s+(?:only\s+)?["\w.]*)/i.exec(
        query,
      ) ?? []
    return found?.trim().slice(0, longestField)
  }
  const name = (command as { name?: unknown } | undefined)?.name
  return typeof name === 'string' ? name.slice(0, longestField) : undefined
}
