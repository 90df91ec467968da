import { hostname } from 'node:os'
import { z } from 'zod'
import { ConfigError } from './config-error.js'
import { type Fault, parseFaults } from './kernel/faults.js'
import type { SettingsClass } from './kernel/settings.js'
import { type Environment, readSecretFiles, secretSettings } from './secret-files.js'

export { ConfigError }

const integer = (least: number, most: number) =>
  z
    .string()
    .regex(/^\d{1,12}$/, 'must be a whole number')
    .transform(Number)
    .refine((n) => n >= least && n <= most, `must be from ${least} to ${most}`)

const url = (...protocols: string[]) =>
  z
    .string()
    .refine(
      (text) => URL.canParse(text) && protocols.includes(new URL(text).protocol) && isDecodable(text),
      `must be a URL that starts with ${protocols.map((p) => `${p}//`).join(' or ')}, with user and password percent-encoded`,
    )

function isDecodable(text: string): boolean {
  try {
    decodeURIComponent(new URL(text).username + new URL(text).password)
    return true
  } catch {
    return false
  }
}

/** The values of NODE_ENV that allow FAULTS; the empty one means that it is not set. Any other, such as `prod`, does not. */
const placesForFaults = ['', 'development', 'test']

/** Makes a value fit for a message of one line. */
const printable = (text: string) => text.replaceAll(/[^\x21-\x7e]+/g, ' ').slice(0, 40)

const isPowerOfTwo = (n: number) => Number.isInteger(Math.log2(n))

const schema = z.object({
  NODE_ENV: z.string().optional(),
  HOST: z.string().default('127.0.0.1'),
  PORT: integer(0, 65_535).default(3000),
  NODE_NAME: z
    .string()
    .regex(/^[A-Za-z0-9._-]{1,48}$/, 'must be 1 to 48 letters, digits, dots, underscores and hyphens')
    .default(
      `${hostname()
        .replaceAll(/[^A-Za-z0-9._-]/g, '-')
        .slice(0, 40)}-${process.pid}`,
    ),
  DATABASE_URL: url('postgres:', 'postgresql:'),
  REDIS_URL: url('redis:', 'rediss:').optional(),
  ADMIN_TOKEN: z.string().min(16, 'must have at least 16 characters').optional(),
  LOG_LEVEL: z.enum(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent']).default('info'),
  RUN_MIGRATIONS: z
    .enum(['true', 'false'])
    .transform((text) => text === 'true')
    .default(true),
  MAX_STALENESS_MS: integer(200, 60_000).default(2_000),
  CHECK_INTERVAL_MS: integer(20, 20_000).default(400),
  INVALIDATION_SLOTS: integer(256, 67_108_864)
    .refine(isPowerOfTwo, 'must be a power of two')
    .default(1_048_576),
  REPLAY_AT_START: integer(0, 1_000_000).default(10_000),
  CACHE_L1_TTL_MS: integer(1, 86_400_000).default(300_000),
  CACHE_L2_TTL_MS: integer(1, 2_592_000_000).default(3_600_000),
  CACHE_MAX_ENTRIES: integer(1, 8_000_000).default(10_000),
  CACHE_TOTAL_BYTES: integer(1_048_576, 999_999_999_999).optional(),
  CACHE_MAX_BYTES: integer(1, 100_000_000_000).optional(),
  CACHE_MAX_PAYLOAD_BYTES: integer(1, 500_000_000).default(1_048_576),
  CACHE_COMPRESS_ABOVE_BYTES: integer(0, 500_000_000).optional(),
  MAX_CONNECTIONS: integer(1, 1_000_000).default(5_000),
  ANSWER_TIMEOUT_MS: integer(100, 3_600_000).default(30_000),
  DATABASE_POOL_SIZE: integer(2, 1_000).default(20),
  DATABASE_TIMEOUT_MS: integer(100, 600_000).default(5_000),
  LOAD_CONCURRENCY: integer(1, 1_000).default(12),
  LOAD_QUEUE: integer(0, 1_000_000).default(2_000),
  REDIS_TIMEOUT_MS: integer(10, 60_000).default(250),
  REDIS_ENCRYPTION: z
    .enum(['true', 'false'])
    .transform((text) => text === 'true')
    .default(false),
  OUTBOX_RETENTION_HOURS: integer(1, 87_600).default(168),
  SHUTDOWN_TIMEOUT_MS: integer(100, 600_000).default(9_000),
  FAULTS: z
    .string()
    .default('')
    .transform((text, context): Fault[] => {
      try {
        return parseFaults(text)
      } catch (error) {
        context.addIssue({ code: 'custom', message: (error as Error).message })
        return z.NEVER
      }
    }),
})

export type Config = z.output<typeof schema> & {
  /** The settings of the modules, by their classes. */
  readonly moduleSettings: ReadonlyMap<SettingsClass, object>
}

/** What declares settings of its own. */
interface Declaring {
  readonly name: string
  readonly settings?: readonly SettingsClass[]
}

/**
 * Reads and checks every setting, once. An empty variable counts as not set.
 *
 * @param modules whose settings are read as well
 * @throws ConfigError that names the first invalid setting. It does not repeat the value, because some are secrets
 */
export function readConfig(environment: Environment, modules: readonly Declaring[] = []): Config {
  const declared = declaredIn(modules)
  const inFiles = [...secretSettings, ...declared.flatMap(({ schema }) => Object.keys(schema.shape))]
  const given = Object.fromEntries(
    Object.entries(readSecretFiles(environment, inFiles)).filter(([, value]) => value !== ''),
  )
  const parse = <Output>(type: z.ZodType<Output>): Output => {
    const parsed = type.safeParse(given)
    if (parsed.success) return parsed.data
    const [issue] = parsed.error.issues
    const name = String(issue?.path[0])
    const source = environment[`${name}_FILE`] ? `${name}_FILE` : name
    throw new ConfigError(given[name] === undefined ? `${name} is not set` : `${source}: ${issue?.message}`)
  }
  const config = {
    ...parse(schema),
    moduleSettings: new Map(declared.map((type) => [type, new type(parse(type.schema.strip()) as never)])),
  }
  if (config.CHECK_INTERVAL_MS * 2 > config.MAX_STALENESS_MS) {
    throw new ConfigError(
      'CHECK_INTERVAL_MS: must be at most half of MAX_STALENESS_MS, because otherwise one late check ends the lease',
    )
  }
  if (config.LOAD_CONCURRENCY >= config.DATABASE_POOL_SIZE) {
    throw new ConfigError(
      'LOAD_CONCURRENCY: must be less than DATABASE_POOL_SIZE, because otherwise reads can block the commands',
    )
  }
  if (config.FAULTS.length > 0 && !placesForFaults.includes(config.NODE_ENV?.trim().toLowerCase() ?? '')) {
    throw new ConfigError(`FAULTS: refused with NODE_ENV=${printable(config.NODE_ENV ?? '')}`)
  }
  return config
}

/** @throws ConfigError if two declare the same variable: neither could change it without changing the other */
function declaredIn(modules: readonly Declaring[]): readonly SettingsClass[] {
  const declared = modules.flatMap(({ name, settings = [] }) =>
    settings.map((type) => ({ module: name, type })),
  )
  const owners = new Map(Object.keys(schema.shape).map((variable) => [variable, 'the kernel']))
  for (const { module, type } of declared) {
    for (const variable of Object.keys(type.schema.shape)) {
      const owner = owners.get(variable)
      if (owner) throw new ConfigError(`${variable}: declared by the module ${module}, and by ${owner}`)
      owners.set(variable, `the module ${module}`)
    }
  }
  return declared.map(({ type }) => type)
}
