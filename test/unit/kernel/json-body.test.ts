import { describe, expect, test } from '@jest/globals'
import fc from 'fast-check'
import { parseJson } from '../../../src/kernel/http/json-body.js'
import { seed } from '../../support/seed.js'

const nested = (levels: number) => '['.repeat(levels) + ']'.repeat(levels)
const object = (names: number) => `{${Array.from({ length: names }, (_, n) => `"n${n}":1`)}}`

describe('a JSON body', () => {
  test('is what JSON.parse makes of it', () => {
    const bodies = fc.jsonValue({ maxDepth: 8 }).map((value) => JSON.stringify(value))
    fc.assert(
      fc.property(bodies, (text) => {
        // What fast-check may make of it by chance, and what is refused, is a case of its own below.
        fc.pre(!text.includes('"__proto__"'))
        expect(parseJson(Buffer.from(text))).toEqual(JSON.parse(text))
      }),
      { seed },
    )
  })

  test.each([
    ['quotes, brackets, colons and commas in texts', String.raw`{"a\"{":"[[,:]\\\\","b":"\\"}`],
    ['64 levels', nested(64)],
    ['1,000 names', object(1_000)],
    ['1,000 names in each of two objects', `[${object(1_000)},${object(1_000)}]`],
    ['the same name in two objects', '[{"a":1},{"a":{"a":2}}]'],
    ['a constructor without a prototype', '{"constructor":{"name":"x"}}'],
    ['a byte order mark', `${String.fromCharCode(0xfeff)}{"a":1}`],
  ])('may have %s', (_what, text) => {
    expect(parseJson(Buffer.from(text))).toEqual(JSON.parse(text.replace(/^\ufeff/, '')))
  })

  test.each([
    ['nothing in it', '', /empty/],
    ['nothing but spaces', '  ', /not valid/],
    ['half a value', '{"a":', /not valid/],
    ['two values', '{}{}', /not valid/],
    ['NaN', '{"a":NaN}', /not valid/],
    ['bytes that are not UTF-8', Buffer.from([0x22, 0xc3, 0x28, 0x22]), /not UTF-8/],
    ['half a surrogate in bytes', Buffer.from([0x22, 0xed, 0xa0, 0x80, 0x22]), /not UTF-8/],
    ['65 levels', nested(65), /nested/],
    ['65 levels of objects', '{"a":'.repeat(65), /nested/],
    ['500,000 levels', nested(500_000), /nested/],
    ['500,000 levels that never close', '['.repeat(1_000_000), /nested/],
    ['1,001 names in an object', object(1_001), /1000 names/],
    ['more than 100,000 values', `[${'0,'.repeat(100_000)}0]`, /values/],
    ['a name twice in an object', '{"name":"A","name":"B"}', /twice/],
    ['a name twice, once escaped', String.raw`{"name":"A","n\u0061me":"B"}`, /twice/],
    ['a name twice, deep within', '[1,{"x":[{"a":1,"b":2,"a":3}]}]', /twice/],
    ['a prototype', '{"__proto__":{"admin":true}}', /__proto__/],
    ['a prototype, escaped', String.raw`{"\u005f_proto__":{"admin":true}}`, /__proto__/],
    ['a prototype, deep within', '{"a":[{"__proto__":1}]}', /__proto__/],
    ['a constructor with a prototype', '{"constructor":{"prototype":{"admin":true}}}', /constructor/],
  ])('may not have %s', (_what, text, message) => {
    expect(() => parseJson(Buffer.from(text as string))).toThrow(message)
  })
})
