import { isDeepStrictEqual } from 'node:util'
import type { z } from 'zod'

/** Several texts that Postgres, or a standard, takes for one value. */
interface Form {
  readonly name: string
  readonly spellings: readonly string[]
  /** Similar texts that do not have this form. A schema that accepts one of them is not for this form alone. */
  readonly others: readonly string[]
  readonly cure: string
}

/** A field that accepts two spellings of one value and keeps them apart. */
export interface Ambiguity {
  readonly path: string
  readonly form: string
  readonly spellings: readonly [string, string]
  readonly cure: string
}

const inLowerCase = 'add .toLowerCase()'
const asInstant = 'add .overwrite((text) => new Date(text).toISOString())'

const uuids: readonly Form[] = [1, 2, 3, 4, 5, 6, 7, 8].map((version) => {
  const id = `0a8b5f0e-1111-${version}222-8333-444455556666`
  return {
    name: 'UUID',
    spellings: [id, id.toUpperCase(), `{${id}}`, id.replaceAll('-', '')],
    others: [id, id.replaceAll('-', '')].map((spelling) => spelling.replace('0a8b', '0g8z')),
    cure: 'use Uuid of kernel/domain',
  }
})

const hexadecimals: readonly Form[] = [8, 16, 24, 32, 40, 64, 96, 128].map((length) => {
  const digits = '0a'.repeat(length / 2)
  return {
    name: 'hexadecimal number',
    spellings: [digits, digits.toUpperCase()],
    others: ['0g'.repeat(length / 2)],
    cure: inLowerCase,
  }
})

const instants = ['', '.0', '.000', '.000000']
  .flatMap((fraction) => [`03:04:00${fraction}Z`, `03:04:00${fraction}+00:00`, `04:04:00${fraction}+01:00`])
  .concat('03:04:00', '03:04', '03:04Z', '04:04+01:00')

const forms: readonly Form[] = [
  ...uuids,
  ...hexadecimals,
  {
    name: 'moment',
    spellings: instants.map((time) => `2026-01-02T${time}`),
    others: ['abcd-ef-ghTij:kl:mnZ', '2026-01-02T03:04:00:00Z'],
    cure: asInstant,
  },
  {
    name: 'date',
    spellings: ['2026-01-02', '2026-1-2', '20260102'],
    others: ['abcd-ef-gh', '20-26-01-02', '2026010200', '1'],
    cure: 'use z.iso.date()',
  },
  {
    name: 'time of day',
    spellings: ['03:04', '03:04:00', '03:04:00.0', '03:04:00.000'],
    others: ['ab:cd', '03:04:00:00', '03-04'],
    cure: 'give it a precision',
  },
  {
    name: 'duration',
    spellings: ['PT60S', 'PT1M', 'PT0H1M'],
    others: ['PTXS', '60'],
    cure: 'use a number of seconds',
  },
  {
    name: 'number',
    spellings: ['1', '01', '1.0', '+1', '1e0'],
    others: ['a', 'x', '1x', '1.0.0', '1-1'],
    cure: 'use z.coerce.number(), or a pattern without leading zeros',
  },
  {
    name: 'email address',
    spellings: ['ada@example.org', 'Ada@Example.org'],
    others: ['ada', 'ada@', 'ada example.org'],
    cure: inLowerCase,
  },
  {
    name: 'ULID',
    spellings: ['01ARZ3NDEKTSV4RRFFQ69G5FAV', '01arz3ndektsv4rrffq69g5fav'],
    others: ['01ARZ3NDEKTSV4RRFFQ69G5FAU'],
    cure: 'add .toUpperCase()',
  },
  {
    name: 'XID',
    spellings: ['9m4e2mr0ui3e8a215n4g', '9M4E2MR0UI3E8A215N4G'],
    others: ['9m4e2mr0ui3e8a215n4z'],
    cure: inLowerCase,
  },
  {
    name: 'IPv6 address',
    spellings: ['fe80::a', 'FE80::A', 'fe80:0:0:0:0:0:0:a'],
    others: ['fe80::g', 'a'],
    cure: 'transform it to the form of RFC 5952',
  },
  {
    name: 'IPv6 network',
    spellings: ['fe80::/64', 'FE80::/64', 'fe80:0:0:0:0:0:0:0/64'],
    others: ['fe80::g/64', 'a'],
    cure: 'transform it to the form of RFC 5952',
  },
  {
    name: 'MAC address',
    spellings: ['00:1a:2b:3c:4d:5e', '00:1A:2B:3C:4D:5E', '00-1a-2b-3c-4d-5e', '001a2b3c4d5e'],
    others: ['00:1g:2b:3c:4d:5e', '00-1g-2b-3c-4d-5e', '001g2b3c4d5e', '00:1a:2b'],
    cure: inLowerCase,
  },
  {
    name: 'host name',
    spellings: ['example.org', 'EXAMPLE.org', 'example.org.'],
    others: ['-.-', 'a..b', `${'x'.repeat(64)}.org`],
    cure: inLowerCase,
  },
  {
    name: 'URL',
    spellings: ['http://example.org/', 'HTTP://EXAMPLE.org/', 'http://example.org'],
    others: ['example', '/'],
    cure: 'use z.url({ normalize: true })',
  },
  {
    name: 'base64 text',
    spellings: ['QQ==', 'QR=='],
    others: ['Q=Q=', '!!!!'],
    cure: 'transform it to bytes and back',
  },
  {
    name: 'card number',
    spellings: ['4111111111111111', '4111 1111 1111 1111', '4111-1111-1111-1111'],
    others: ['4111/1111/1111/1111', 'x111-1111-1111-1111', '+111 1111'],
    cure: 'transform it to its digits',
  },
]

/**
 * Finds fields of a schema that accept two spellings of one value and keep them apart. It parses examples with each field's
 * schema and compares the results, so it does not matter how the schema is built: a regular expression for one of the forms
 * is found as well. A schema that accepts any text is not found, because nothing tells what it is for.
 */
export function ambiguitiesIn(schema: z.ZodObject): Ambiguity[] {
  return new Probe(forms).fieldsOf(schema)
}

/**
 * Like `ambiguitiesIn`, but looks for UUIDs only. Events are checked with it: keys are seldom made of moments and the like,
 * so an event may carry these in any spelling.
 */
export function ambiguousIdsIn(schema: z.ZodObject): Ambiguity[] {
  return new Probe(uuids).fieldsOf(schema)
}

/** The schemas inside a schema. Which of these properties exist depends on its type. */
interface Parts {
  readonly type: string
  readonly shape?: Readonly<Record<string, z.ZodType>>
  readonly innerType?: z.ZodType
  readonly element?: z.ZodType
  readonly items?: readonly z.ZodType[]
  readonly rest?: z.ZodType | null
  readonly keyType?: z.ZodType
  readonly valueType?: z.ZodType
  readonly options?: readonly z.ZodType[]
  readonly left?: z.ZodType
  readonly right?: z.ZodType
  readonly in?: z.ZodType
  readonly getter?: () => z.ZodType
}

class Probe {
  readonly #found = new Map<string, Ambiguity>()
  /** A schema may contain itself. */
  readonly #seen = new Set<z.ZodType>()

  constructor(private readonly forms: readonly Form[]) {}

  fieldsOf(schema: z.ZodObject): Ambiguity[] {
    for (const [name, field] of Object.entries(schema.shape)) this.#look(field as z.ZodType, name)
    return [...this.#found.values()]
  }

  #look(schema: z.ZodType, path: string): void {
    for (const form of this.forms) this.#try(schema, path, form)
    this.#lookInside(schema, path)
  }

  /**
   * Tries the schemas inside a schema. The input of a transformation was tried together with it, so only the parts of that
   * input are tried.
   */
  #lookInside(schema: z.ZodType, path: string, transformed = false): void {
    if (this.#seen.has(schema)) return
    this.#seen.add(schema)
    const parts = schema._zod.def as unknown as Parts
    const wrapped = [
      parts.innerType,
      parts.in,
      parts.getter?.(),
      ...(parts.options ?? []),
      parts.left,
      parts.right,
    ]
    for (const one of wrapped) {
      if (!one) continue
      if (transformed || parts.type === 'pipe') this.#lookInside(one, path, true)
      else this.#look(one, path)
    }
    for (const [name, field] of Object.entries(parts.shape ?? {})) this.#look(field, `${path}.${name}`)
    const elements = [parts.element, ...(parts.items ?? []), parts.rest, parts.keyType, parts.valueType]
    for (const element of elements) if (element) this.#look(element, `${path}[]`)
  }

  #try(schema: z.ZodType, path: string, { name, spellings, others, cure }: Form): void {
    const place = `${path} ${name}`
    if (this.#found.has(place)) return
    const accepted = spellings.flatMap((text) => {
      const outcome = outcomeOf(schema, text)
      return outcome ? [{ text, value: outcome.value }] : []
    })
    const [first] = accepted
    const second = accepted.find(({ value }) => !isDeepStrictEqual(value, first?.value))
    if (!first || !second || others.some((text) => outcomeOf(schema, text))) return
    this.#found.set(place, { path, form: name, spellings: [first.text, second.text], cure })
  }
}

/** @returns undefined if the schema refuses the text, throws, or is asynchronous */
function outcomeOf(schema: z.ZodType, text: string): { readonly value: unknown } | undefined {
  try {
    const parsed = schema.safeParse(text)
    return parsed.success ? { value: parsed.data } : undefined
  } catch {
    // A refinement or transformation threw. zod also throws for an asynchronous one.
    return undefined
  }
}
