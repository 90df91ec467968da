import 'reflect-metadata'
import { describe, expect, test } from '@jest/globals'
import { HandlerRegistry, ModuleError } from '../../../src/kernel/cqrs/handler-registry.js'
import { queryHandler } from '../../../src/kernel/cqrs/handlers.js'
import { query } from '../../../src/kernel/cqrs/message.js'
import { displayName, domainEvent, Slug, text, Uuid, z } from '../../../src/kernel/domain/index.js'
import { oneModule } from '../../support/one-module.js'

/** What a start says about a cached query, or about an event, that has such a field. */
function problemsOf(field: z.ZodType, distinct: readonly string[] = []): string[] {
  class GetThing extends query(z.strictObject({ field, other: z.number() })).returning<{ id: string }>() {}
  @queryHandler(GetThing, {
    key: ({ field }) => String(field),
    keyOfAnswer: ({ id }) => id,
    invalidatedBy: [],
    distinctSpellings: distinct as never,
  })
  class GetThingHandler {
    async execute(): Promise<{ id: string }> {
      return { id: '' }
    }
  }
  return linesOf({ handlers: [GetThingHandler] })
}

function problemsOfEvent(field: z.ZodType): string[] {
  return linesOf({ events: [class extends domainEvent('things.happened', z.object({ field })) {}] })
}

function linesOf(parts: Parameters<typeof oneModule>[0]): string[] {
  try {
    new HandlerRegistry(oneModule(parts))
  } catch (error) {
    expect(error).toBeInstanceOf(ModuleError)
    return (error as Error).message.split('\n')
  }
  return []
}

const inNode = (value: z.ZodType): z.ZodType => {
  const node: z.ZodType = z.object({ value, next: z.lazy(() => node).optional() })
  return node
}

describe('a cached query does not start if it keeps two spellings of one value apart', () => {
  test.each<[string, z.ZodType, string]>([
    ['a UUID', z.uuid(), 'UUID'],
    ['a UUID of one version', z.uuidv7(), 'UUID'],
    ['a GUID', z.guid(), 'UUID'],
    ['a UUID by a pattern', z.string().regex(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i), 'UUID'],
    ['a UUID in braces or without', z.string().regex(/^\{?[0-9a-f-]{36}\}?$/), 'UUID'],
    ['a moment', z.iso.datetime(), 'moment'],
    ['a moment of any offset', z.iso.datetime({ offset: true, precision: 0 }), 'moment'],
    ['a local moment', z.iso.datetime({ local: true }), 'moment'],
    ['a date by a pattern', z.string().regex(/^\d{4}-\d{1,2}-\d{1,2}$/), 'date'],
    ['a time of day', z.iso.time(), 'time of day'],
    ['a duration', z.iso.duration(), 'duration'],
    ['digits', z.string().regex(/^\d+$/), 'number'],
    ['a decimal number', z.string().regex(/^-?\d+(\.\d+)?$/), 'number'],
    ['an email address', z.email(), 'email address'],
    ['a ULID', z.ulid(), 'ULID'],
    ['an XID', z.xid(), 'XID'],
    ['an IPv6 address', z.ipv6(), 'IPv6 address'],
    ['an IPv6 network', z.cidrv6(), 'IPv6 network'],
    ['a MAC address', z.mac(), 'MAC address'],
    ['a host name', z.hostname(), 'host name'],
    ['a URL', z.url(), 'URL'],
    ['a hash', z.hash('sha256'), 'hexadecimal number'],
    ['hexadecimal digits', z.hex(), 'hexadecimal number'],
    ['base64', z.base64(), 'base64 text'],
    ['a card number', z.creditCard(), 'card number'],
    ['an optional one', z.uuid().optional(), 'UUID'],
    ['one that may be null', z.uuid().nullable(), 'UUID'],
    ['one with a default', z.uuid().default('a'), 'UUID'],
    ['one that is caught', z.uuid().catch('a'), 'UUID'],
    ['a branded one', z.uuid().brand('Id'), 'UUID'],
    ['a list', z.array(z.uuid()), 'UUID'],
    ['a list that is transformed', z.array(z.uuid()).transform((ids) => ids.length), 'UUID'],
    ['a tuple', z.tuple([z.string(), z.uuid()]), 'UUID'],
    ['the rest of a tuple', z.tuple([z.string()], z.uuid()), 'UUID'],
    ['a set', z.set(z.uuid()), 'UUID'],
    ['keys of a record', z.record(z.uuid(), z.number()), 'UUID'],
    ['deep inside', z.object({ lines: z.array(z.object({ id: z.uuid().optional() })) }).optional(), 'UUID'],
    ['one of several', z.union([z.uuid(), z.literal('me')]), 'UUID'],
    ['a part of one of several', z.union([z.object({ id: z.uuid() }), z.literal('me')]), 'UUID'],
    ['an intersection', z.intersection(z.uuid(), z.string()), 'UUID'],
    ['a schema that holds itself', inNode(z.uuid()), 'UUID'],
    ['one behind a transformation that leaves it as it is', z.uuid().transform((id) => `user ${id}`), 'UUID'],
    ['one that is checked first', z.string().pipe(z.uuid()), 'UUID'],
  ])('%s', (_what, field, form) => {
    expect(problemsOf(field)).toContainEqual(
      expect.stringMatching(
        new RegExp(
          `^The cached query GetThing keeps ".+" and ".+" apart in its field field.*${form}.+To normalise`,
        ),
      ),
    )
  })

  test('with one line for each field, that names it and says how to mend it', () => {
    expect(problemsOf(z.object({ by: z.uuid() }))).toEqual([
      'The cached query GetThing keeps "0a8b5f0e-1111-1222-8333-444455556666" and "0A8B5F0E-1111-1222-8333-444455556666" ' +
        'apart in its field field.by, although they are the same UUID. One thing would have two keys, and an event would ' +
        'invalidate only one of them. To normalise the field, use Uuid of kernel/domain (docs/hybrid-cache.md#keys)',
    ])
  })
})

describe('a cached query starts whose fields have one spelling for each value', () => {
  test.each<[string, z.ZodType]>([
    ['a normalised UUID', Uuid],
    ['one in upper case', z.uuid().toUpperCase()],
    ['an optional one', Uuid.optional()],
    ['a list of them', z.array(Uuid)],
    ['one of several', z.union([Uuid, z.literal('me')])],
    ['one that a transformation normalises', z.uuid().transform((id) => id.toLowerCase())],
    [
      'an optional one that a transformation normalises',
      z
        .uuid()
        .optional()
        .transform((id) => id?.toLowerCase()),
    ],
    ['one that is normalised before', z.preprocess((id) => String(id).toLowerCase(), z.uuid())],
    ['a schema that holds itself', inNode(Uuid)],
    ['a name in a URL', Slug],
    ['any text', z.string()],
    ['a name', displayName(64)],
    ['a text of lines', text(64)],
    ['a pattern of letters and digits', z.string().regex(/^[A-Za-z0-9.-]{1,64}$/)],
    ['names with dots', z.string().regex(/^[A-Za-z0-9]+(\.[A-Za-z0-9]+)*$/)],
    ['a telephone number', z.string().regex(/^[\d+ -]{5,20}$/)],
    ['five digits', z.string().regex(/^\d{5}$/)],
    ['digits without leading zeros', z.string().regex(/^(0|[1-9]\d*)$/)],
    ['a number', z.coerce.number()],
    ['a big one', z.coerce.bigint()],
    ['a date', z.iso.date()],
    ['a Date', z.coerce.date()],
    ['a moment to the millisecond', z.iso.datetime({ precision: 3 })],
    ['a normalised moment', z.iso.datetime({ offset: true }).overwrite((at) => new Date(at).toISOString())],
    ['a normalised address', z.email().toLowerCase()],
    ['a normalised URL', z.url({ normalize: true })],
    ['an IPv4 address', z.ipv4()],
    ['a nano id', z.nanoid()],
    ['a choice', z.enum(['a', 'A'])],
  ])('%s', (_what, field) => {
    expect(problemsOf(field)).toEqual([])
  })

  test('or that declares that its spellings are distinct', () => {
    const digits = z.string().regex(/^\d+$/)
    expect([problemsOf(digits).length, problemsOf(digits, ['field'])]).toEqual([1, []])
    expect(problemsOf(z.object({ code: digits }), ['field'])).toEqual([])
    expect(problemsOf(digits, ['other'])).toHaveLength(1)
  })
})

describe('an event', () => {
  test('does not start with an id that has two spellings', () => {
    expect(problemsOfEvent(z.array(z.object({ id: z.uuid() })))).toEqual([
      expect.stringMatching(
        /^The event things\.happened keeps ".+" and ".+" apart in its field field\[\]\.id/,
      ),
    ])
  })

  test('starts with a normalised id, and with what no key is made of', () => {
    for (const field of [Uuid, z.iso.datetime({ offset: true }), z.email(), z.string()])
      expect(problemsOfEvent(field)).toEqual([])
  })
})
