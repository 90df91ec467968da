import { describe, expect, test } from '@jest/globals'
import { z } from 'zod'
import { ConfigError, readConfig } from '../../src/config.js'
import { settings } from '../../src/kernel/settings.js'

const secret = 'hunter2-hunter2-hunter2'
const enough = { DATABASE_URL: `postgres://app:${secret}@db.example:5432/app` }

function refusal(environment: Record<string, string | undefined>): string {
  try {
    readConfig(environment)
  } catch (error) {
    expect(error).toBeInstanceOf(ConfigError)
    return (error as Error).message
  }
  throw new Error(`Not refused: ${JSON.stringify(environment)}`)
}

describe('the configuration', () => {
  test('a database is all that a node needs to be told', () => {
    const config = readConfig(enough)
    expect(config).toMatchObject({ PORT: 3000, MAX_STALENESS_MS: 2_000, RUN_MIGRATIONS: true, FAULTS: [] })
    expect(config.REDIS_URL).toBeUndefined()
    expect(config.ADMIN_TOKEN).toBeUndefined()
  })

  test('an empty variable counts as not set', () => {
    const config = readConfig({ ...enough, PORT: '', REDIS_URL: '', ADMIN_TOKEN: '', RUN_MIGRATIONS: '' })
    expect(config).toMatchObject({ PORT: 3000, RUN_MIGRATIONS: true })
    expect(refusal({ DATABASE_URL: '' })).toBe('DATABASE_URL is not set')
    expect(refusal({})).toBe('DATABASE_URL is not set')
  })

  test.each([
    ['DATABASE_URL', `mysql://app:${secret}@db.example/app`],
    ['DATABASE_URL', `app:${secret}@db.example`],
    ['REDIS_URL', `http://:${secret}@redis.example`],
    ['REDIS_URL', secret],
    ['PORT', '65536'],
    ['PORT', '-1'],
    ['PORT', '3000.5'],
    ['PORT', '0x10'],
    ['PORT', 'http'],
    ['PORT', '9'.repeat(400)],
    ['NODE_NAME', 'two words'],
    ['NODE_NAME', 'x'.repeat(49)],
    ['NODE_NAME', 'a\nb'],
    ['ADMIN_TOKEN', 'hunter2-hunter2'],
    ['LOG_LEVEL', 'loud'],
    ['RUN_MIGRATIONS', 'yes'],
    ['REDIS_ENCRYPTION', '1'],
    ['MAX_STALENESS_MS', '199'],
    ['MAX_STALENESS_MS', '60001'],
    ['CHECK_INTERVAL_MS', '19'],
    ['CHECK_INTERVAL_MS', '1001'],
    ['INVALIDATION_SLOTS', '1000'],
    ['INVALIDATION_SLOTS', '128'],
    ['REPLAY_AT_START', '1000001'],
    ['CACHE_L1_TTL_MS', '0'],
    ['CACHE_L2_TTL_MS', '0'],
    ['CACHE_MAX_ENTRIES', '0'],
    ['CACHE_TOTAL_BYTES', '1000'],
    ['MAX_CONNECTIONS', '0'],
    ['ANSWER_TIMEOUT_MS', '99'],
    ['DATABASE_POOL_SIZE', '1'],
    ['DATABASE_TIMEOUT_MS', '99'],
    ['LOAD_CONCURRENCY', '0'],
    ['LOAD_CONCURRENCY', '20'],
    ['LOAD_QUEUE', '-1'],
    ['REDIS_TIMEOUT_MS', '9'],
    ['OUTBOX_RETENTION_HOURS', '0'],
    ['SHUTDOWN_TIMEOUT_MS', '99'],
    ['FAULTS', 'before-load:explode'],
    ['FAULTS', 'before-load:\nexplode'],
  ])(
    'a bad %s (%j) is refused in one line that begins with its name and repeats no secret',
    (name, value) => {
      const message = refusal({ ...enough, [name]: value })
      expect(message).toMatch(new RegExp(`^${name}\\b`))
      expect(message).not.toContain('\n')
      expect(message).not.toContain('hunter2')
    },
  )

  test('the shortest of two intervals must fit into the other twice', () => {
    expect(readConfig({ ...enough, MAX_STALENESS_MS: '200', CHECK_INTERVAL_MS: '100' })).toBeDefined()
    expect(refusal({ ...enough, MAX_STALENESS_MS: '200', CHECK_INTERVAL_MS: '101' })).toMatch(
      /^CHECK_INTERVAL_MS/,
    )
  })

  test('faults are refused in production', () => {
    const faulty = { ...enough, FAULTS: 'after-commit:kill' }
    expect(readConfig(faulty).FAULTS).toHaveLength(1)
    expect(refusal({ ...faulty, NODE_ENV: 'production' })).toBe('FAULTS: refused with NODE_ENV=production')
    for (const place of [
      'Production',
      ' production ',
      'PROD',
      'prod',
      'live',
      'staging',
      'productoin',
      'pro\nduction',
    ])
      expect(refusal({ ...faulty, NODE_ENV: place })).toMatch(/^FAULTS: refused with NODE_ENV=.*$/)
    for (const place of ['', 'development', 'test', 'Test'])
      expect(readConfig({ ...enough, ...faulty, NODE_ENV: place }).FAULTS).toHaveLength(1)
    expect(readConfig({ ...enough, NODE_ENV: 'production' }).FAULTS).toEqual([])
  })
})

describe('the settings of a module', () => {
  class MailSettings extends settings(
    z.object({ MAIL_URL: z.url(), MAIL_RETRIES: z.coerce.number().int().min(0).default(3) }),
  ) {}
  const mail = { name: 'mail', settings: [MailSettings] }

  function refusalOf(
    environment: Record<string, string>,
    ...modules: Parameters<typeof readConfig>[1] & object
  ): string {
    try {
      readConfig({ ...enough, ...environment }, modules)
    } catch (error) {
      expect(error).toBeInstanceOf(ConfigError)
      return (error as Error).message
    }
    throw new Error('not refused')
  }

  test('are read and checked with all others, and typed', () => {
    const { moduleSettings } = readConfig({ ...enough, MAIL_URL: 'smtp://mail.example', MAIL_RETRIES: '' }, [
      mail,
    ])
    const read = moduleSettings.get(MailSettings) as MailSettings
    expect(read).toBeInstanceOf(MailSettings)
    expect({ ...read }).toEqual({ MAIL_URL: 'smtp://mail.example', MAIL_RETRIES: 3 })
    expect(() => Object.assign(read, { MAIL_RETRIES: 4 })).toThrow(TypeError)
  })

  test('stop the start with one line that names the variable, and not its value', () => {
    expect(refusalOf({}, mail)).toBe('MAIL_URL is not set')
    expect(refusalOf({ MAIL_URL: secret }, mail)).toMatch(/^MAIL_URL: [^\n]*$/)
    expect(refusalOf({ MAIL_URL: secret }, mail)).not.toContain(secret)
    expect(refusalOf({ MAIL_URL: 'smtp://mail.example', MAIL_RETRIES: '-1' }, mail)).toMatch(
      /^MAIL_RETRIES: /,
    )
  })

  test('can be read from a file', () => {
    expect(refusalOf({ MAIL_URL_FILE: '/no/such/file' }, mail)).toBe(
      'MAIL_URL_FILE: the file cannot be read (ENOENT)',
    )
  })

  test('cannot be declared twice, nor under the name of a setting that every service has', () => {
    class Other extends settings(z.object({ MAIL_URL: z.string() })) {}
    class Port extends settings(z.object({ PORT: z.string() })) {}
    const environment = { MAIL_URL: 'smtp://mail.example' }
    expect(refusalOf(environment, mail, { name: 'other', settings: [Other] })).toBe(
      'MAIL_URL: declared by the module other, and by the module mail',
    )
    expect(refusalOf(environment, { name: 'other', settings: [Port] })).toBe(
      'PORT: declared by the module other, and by the kernel',
    )
  })
})
