/** An error in the log. Fields other than `type`, `message` and `stack` exist only if the error has them. */
export interface LoggedError {
  readonly type: string
  readonly message: string
  /** Begins with the `type` and `message` above, not with those of the original error. */
  readonly stack?: string
  /** The code from the operating system or Node (`ECONNREFUSED`), from a library, or the SQLSTATE. */
  readonly code?: string | number
  /** The PL/pgSQL functions that the error came through, innermost first: `welcome() line 3 at RAISE`. */
  readonly where?: readonly string[]
  /** Verb and table of the failed SQL statement, or the name of the failed Redis command. */
  readonly statement?: string
  readonly cause?: LoggedError
  /** The first few errors of an AggregateError. */
  readonly errors?: readonly LoggedError[]
  readonly [field: string]: unknown
}

/** Limits, in characters, levels of causes, and errors of one AggregateError. */
const longestField = 200
const longestMessage = 2_000
const longestStack = 8_000
const mostLevels = 5
const mostErrors = 5

/** Fields of errors from Node, Postgres and Fastify that hold only names and numbers. */
const safeFields = [
  ...['errno', 'syscall', 'address', 'port', 'statusCode'],
  ...['severity', 'routine', 'position', 'schema', 'table', 'column', 'constraint', 'dataType'],
]
/** Fields that a PL/pgSQL function can set to any text when it raises an exception. */
const settableFields = ['schema', 'table', 'column', 'constraint', 'dataType']

/**
 * SQLSTATE classes whose messages name objects, roles and limits, but no values. They are about connections, features,
 * transactions, statements, roles, databases, schemas, rollbacks, definitions, resources, limits, object states, operators,
 * the system, the configuration and corrupted data. 42601, 42602 and 42622 are excluded, because they quote the statement.
 */
const namesOnly = /^(08|0A|25|26|28|2B|3D|3F|40|42(?!601|602|622)|53|54|55|57|58|F0|XX00[12])/

const conditions: Readonly<Record<string, string>> = {
  '22001': 'a string that is too long',
  '22003': 'a number that is out of range',
  '22P02': 'a text that is not valid for its type',
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
 * Returns what may be logged of an error: where and why it happened, but no values of rows, parameters or commands. It lets
 * only listed fields through, because drivers add fields with values. Postgres puts the row into the message (a trigger's
 * `raise exception 'row %', new`), the detail, the hint and the context. TypeORM attaches the parameters, and ioredis the
 * command, with the password of AUTH.
 *
 * @param error anything that was thrown
 * @returns a description in any case; it never throws
 */
export function serializeError(error: unknown): LoggedError {
  try {
    return describe(error, hiddenTextsOf(error, 0), 0)
  } catch {
    return { type: typeof error, message: 'an error that cannot be described' }
  }
}

/** Describes an error in one line, for a person at a terminal. */
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

/** Unwraps the error of the driver, which TypeORM wraps. */
function sourceOf(error: Error): Fields {
  const { driverError } = error as Error & Fields
  return (driverError instanceof Error ? driverError : error) as unknown as Fields
}

function isOfPostgres({ severity, code }: Fields): boolean {
  return typeof severity === 'string' && typeof code === 'string' && /^[0-9A-Z]{5}$/.test(code)
}

/** A function can choose any SQLSTATE and message, but Postgres also reports the source file, such as `pl_exec.c`. */
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
  // An error of zod, whose messages come from the schema's author and may quote the value.
  if (Array.isArray(issues)) {
    const lines = (issues as Fields[]).map(
      ({ path, code }) => `${Array.isArray(path) ? path.join('.') : ''}: ${String(code)}`,
    )
    return `Invalid input: ${lines.join(', ')}`
  }
  // Redis repeats the arguments of a command that it does not know.
  return command ? error.message.replace(/, with args beginning with[\s\S]*$/, '') : error.message
}

/** Texts to remove from every message, because code may have copied them: `new Error(`…: ${error.message}`)`. */
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

/** The stack without its header. The header contains the message, whose lines could look like frames. */
function framesOf({ stack = '', message }: Error): string {
  const start = message === '' ? -1 : stack.indexOf(message)
  const lines = stack.slice(start < 0 ? 0 : start + message.length).split('\n')
  return lines.filter((line) => /^ {4}at /.test(line)).join('\n')
}

/** The lines of the context that name functions. Other lines repeat statements and parameters. */
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
