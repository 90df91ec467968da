import { z } from 'zod'

/**
 * Schemas of values that have one spelling each. What Postgres takes for one value must not become two keys of a
 * cache: an event would invalidate one of them, and the other would be served for the rest of its lifetime. So these
 * normalise what can be spelled in several ways, and refuse the rest. Use them for parameters, bodies, queries,
 * commands and events alike.
 */

/** A UUID in any case, made lower case, as Postgres answers it. */
export const Uuid = z.uuid().toLowerCase()

/** A name that is part of a URL; `.` and `..` are not, as clients resolve them before they send a request. */
export const Slug = z
  .string()
  .regex(
    /^(?!\.{1,2}$)[A-Za-z0-9._-]{1,64}$/,
    'must be 1 to 64 letters, digits, dots, underscores and hyphens, and neither "." nor ".."',
  )

/**
 * Text of any script, of several lines perhaps. Two ways to write one character (`é`, or `e` with an accent to follow)
 * become one: Unicode's form NFC.
 *
 * @param maximum UTF-16 code units
 */
export function text(maximum: number) {
  return z
    .string()
    .normalize('NFC')
    .max(maximum)
    .regex(
      /^(?:[\t\n\r]|[^\p{Cc}\p{Cs}\p{Noncharacter_Code_Point}])*$/u,
      'contains control characters other than tabs and line breaks, or what is no character',
    )
}

/** What nobody sees, and what Unicode lets a font leave out: zero-width spaces, fillers, marks of direction, tags. */
const unseen = '\\p{Default_Ignorable_Code_Point}\\u2800\\uFFF9-\\uFFFB'
/** A variation selector changes nothing about these letters: it would only be invisible. */
const selector = '(?<![\\p{Script=Latin}\\p{Script=Greek}\\p{Script=Cyrillic}])\\p{Variation_Selector}'
/** A joiner or non-joiner changes what is shown after these characters only, and only if another one follows. */
const joiner = `(?<=[\\p{M}\\p{Script=Arabic}\\p{Script=Syriac}\\p{Extended_Pictographic}\\p{Emoji_Modifier}])[\\u200C\\u200D](?=[^${unseen}])`
const seenOnly = new RegExp(`^(?:[^${unseen}](?:${selector})?(?:${joiner})?)*$`, 'u')

/**
 * One line of text that shows something: what a person or a thing is called. Characters that nobody sees are refused,
 * as two names that look the same should be the same, except where emoji and scripts such as Persian and Hindi are
 * written with them.
 *
 * @param maximum UTF-16 code units
 */
export function displayName(maximum: number) {
  return z
    .string()
    .normalize('NFC')
    .trim()
    .min(1)
    .max(maximum)
    .regex(
      /^[^\p{Cc}\p{Cs}\p{Zl}\p{Zp}\p{Noncharacter_Code_Point}]*$/u,
      'contains line breaks, control characters, or what is no character',
    )
    .regex(seenOnly, 'contains characters that cannot be seen')
    .regex(/[\p{L}\p{N}\p{P}\p{S}]/u, 'shows nothing')
}
