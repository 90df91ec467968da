import type { RandomNumbers } from '../consistency/random-numbers.js'

const ways: readonly ((text: string, random: RandomNumbers) => string)[] = [
  (text) => text.toUpperCase(),
  (text) => text.toLowerCase(),
  inRandomCase,
  (text) => `{${text}}`,
  (text) => `urn:uuid:${text}`,
  (text) => text.replaceAll('-', ''),
  (text) => ` ${text}`,
  (text) => `${text} `,
  (text) => `${text}\n`,
  (text) => `0${text}`,
  (text) => `+${text}`,
  (text) => `${text}.0`,
  (text) => text.normalize('NFC'),
  (text) => text.normalize('NFD'),
  (text) => text.normalize('NFKD'),
  (text) => `${text}\u200B`,
]

/** The text in another spelling: by some equality or other of a database, mostly the same. */
export function respelled(text: string, random: RandomNumbers): string {
  let result = text
  do result = random.oneOf(ways)(result, random)
  while (random.chance(0.3))
  return result
}

export function inRandomCase(text: string, random: RandomNumbers): string {
  return [...text]
    .map((letter) => (random.chance(0.5) ? letter.toUpperCase() : letter.toLowerCase()))
    .join('')
}

/** A copy in which every text is one that `change` makes of it, however deep inside. */
export function withTexts(value: unknown, change: (text: string) => string): unknown {
  if (typeof value === 'string') return change(value)
  if (Array.isArray(value)) return value.map((one) => withTexts(one, change))
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([name, one]) => [name, withTexts(one, change)]))
}
