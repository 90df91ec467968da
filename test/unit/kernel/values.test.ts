import { describe, expect, test } from '@jest/globals'
import { displayName, Slug, text, Uuid, z } from '../../../src/kernel/domain/index.js'

const isAccepted = (schema: z.ZodType, value: string): boolean => schema.safeParse(value).success

describe('an id', () => {
  const id = '0a8b5f0e-1111-4222-8333-444455556666'

  test('in whatever case is the same id', () => {
    expect(
      [id, id.toUpperCase(), '0A8b5f0E-1111-4222-8333-444455556666'].map((one) => Uuid.parse(one)),
    ).toEqual([id, id, id])
  })

  test.each([
    `{${id}}`,
    id.replaceAll('-', ''),
    `urn:uuid:${id}`,
    ` ${id}`,
    `${id}\n`,
    '0a8b-5f0e-1111-4222-8333-4444-5555-6666',
  ])('that only Postgres would read is refused: %j', (spelling) => {
    expect(isAccepted(Uuid, spelling)).toBe(false)
  })

  test('is described as a UUID', () => {
    expect(z.toJSONSchema(Uuid)).toMatchObject({ type: 'string', format: 'uuid' })
  })
})

describe('a name in a URL', () => {
  test.each(['a', 'A-b_c.d', '...', '.a', 'a.', '..a', 'x'.repeat(64)])('may be %j', (name) => {
    expect(Slug.parse(name)).toBe(name)
  })

  test.each(['', '.', '..', 'a b', 'a/b', 'é', 'a\n', 'x'.repeat(65)])('is not %j', (name) => {
    expect(isAccepted(Slug, name)).toBe(false)
  })
})

describe('what a person or a thing is called', () => {
  const schema = displayName(100)

  test('is the same in either form that Unicode has for it', () => {
    expect(schema.parse('Zoe\u0308')).toBe('Zo\u00EB')
    expect(schema.parse('\u212Bngstr\u00F6m')).toBe(schema.parse('A\u030Angstro\u0308m'))
    expect(schema.parse('\u1112\u1161\u11AB')).toBe('\uD55C')
  })

  test('is trimmed', () => {
    expect(schema.parse('\u00A0 Ada \uFEFF')).toBe('Ada')
  })

  test.each([
    ['Persian, with a non-joiner', 'می\u200Cخواهم'],
    ['Hindi, with a joiner', 'क\u094D\u200Dष'],
    ['an emoji of three, with a selector', '👩\u200D❤\uFE0F\u200D👨'],
    ['an emoji with a tone of skin', '👩🏽\u200D💻'],
    ['a flag', '🇨🇭'],
    ['a keycap', '1\uFE0F\u20E3'],
    ['Arabic, with its marks', 'مُحَمَّد'],
    ['a letter that has no composed form', 'x\u0304'],
    ['punctuation', 'O’Neil-Smith, Jr. (II)'],
  ])('may be in any script: %s', (_what, name) => {
    expect(schema.parse(name)).toBe(name)
  })

  test.each([
    ['a NUL', 'a\0b'],
    ['a bell', 'a\u0007b'],
    ['a C1 control', 'a\u0085b'],
    ['DEL', 'a\u007Fb'],
    ['a line break', 'a\nb'],
    ['a tab', 'a\tb'],
    ['a line separator', 'a\u2028b'],
    ['half a surrogate pair', 'a\uD800b'],
    ['a code point that is no character', 'a\uFFFFb'],
    ['a zero-width space', 'ad\u200Bmin'],
    ['nothing but one', '\u200B'],
    ['a word joiner', 'ad\u2060min'],
    ['a soft hyphen', 'ad\u00ADmin'],
    ['a joiner where nothing joins', 'ad\u200Dmin'],
    ['a non-joiner where nothing joins', 'ad\u200Cmin'],
    ['a joiner at the end', 'क\u094D\u200D'],
    ['a selector where there is nothing to select', 'ad\uFE0Fmin'],
    ['a supplementary selector', 'ad\u{E0101}min'],
    ['a change of direction', 'a\u202Eb'],
    ['an isolate', 'a\u2066b\u2069'],
    ['a mark of direction', 'a\u200Eb'],
    ['a byte-order mark inside', 'a\uFEFFb'],
    ['a Hangul filler', '\u3164'],
    ['a half-width one', 'a\uFFA0'],
    ['a blank of Braille', '\u2800'],
    ['a combining grapheme joiner', 'a\u034Fb'],
    ['tags', 'a\u{E0061}\u{E007F}'],
    ['only an accent', '\u0301'],
    ['only spaces', ' \u3000\u00A0'],
  ])('contains nothing that cannot be seen: %s', (_what, name) => {
    expect(isAccepted(schema, name)).toBe(false)
  })

  test('is as long as it is once it is normalised', () => {
    expect(displayName(1).parse('e\u0301')).toBe('\u00E9')
    expect(isAccepted(displayName(1), '\u0958')).toBe(false)
  })
})

describe('a text', () => {
  const schema = text(100)

  test('may have lines, and is the same in either form that Unicode has for it', () => {
    expect(schema.parse('one\r\n\ttwo e\u0301')).toBe('one\r\n\ttwo \u00E9')
  })

  test.each(['\0', '\u0007', '\u000B', '\u001B[31m', '\u0085', '\u007F', '\uDC00', '\uFFFE'])(
    'has no control characters, nor what Postgres cannot store: %j',
    (value) => {
      expect(isAccepted(schema, value)).toBe(false)
    },
  )
})
