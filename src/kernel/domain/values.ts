import { z } from 'zod'

/**
 * Schemas that give each value one spelling. If one value of Postgres had two keys in a cache, an event would invalidate one
 * of them, and the other would be served for the rest of its lifetime. So these schemas normalise what they can and refuse
 * the rest. Use them for parameters, bodies, queries, commands and events alike.
 */

/** A UUID. It is accepted in upper and lower case and becomes lower case, which is what Postgres returns. */
export const Uuid = z.uuid().toLowerCase()

/** A name that can be part of a URL. It cannot be `.` or `..`, because clients resolve these before they send a request. */
export const Slug = z
  .string()
  .regex(
    /^(?!\.{1,2}$)[A-Za-z0-9._-]{1,64}$/,
    'must be 1 to 64 letters, digits, dots, underscores and hyphens, and neither "." nor ".."',
  )

/**
 * Text in any script, of one line or several. It is normalised to Unicode's form NFC, in which each character has one
 * spelling: without that, `é` can also be `e` and an accent.
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
      'contains control characters other than tabs and line breaks, or code points that are not characters',
    )
}

/** Characters that are not shown: zero-width spaces, fillers, direction marks, tags and whatever else a font may leave out. */
const unseen = '\\p{Default_Ignorable_Code_Point}\\u2800\\uFFF9-\\uFFFB'
/** A variation selector, unless it follows a letter of these scripts: it would not change how that letter looks. */
const selector = '(?<![\\p{Script=Latin}\\p{Script=Greek}\\p{Script=Cyrillic}])\\p{Variation_Selector}'
/** A joiner or non-joiner. It changes what is shown only between one of these characters and another visible character. */
const joiner = `(?<=[\\p{M}\\p{Script=Arabic}\\p{Script=Syriac}\\p{Extended_Pictographic}\\p{Emoji_Modifier}])[\\u200C\\u200D](?=[^${unseen}])`
const seenOnly = new RegExp(`^(?:[^${unseen}](?:${selector})?(?:${joiner})?)*$`, 'u')

/**
 * The name of a person or a thing: one line of text that is not blank. Names that look the same should be the same, so
 * invisible characters are refused, except where emoji and scripts such as Persian and Hindi need them.
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
      'contains line breaks, control characters, or code points that are not characters',
    )
    .regex(seenOnly, 'contains invisible characters')
    .regex(/[\p{L}\p{N}\p{P}\p{S}]/u, 'contains no visible character')
}
