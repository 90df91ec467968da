import { isUtf8 } from 'node:buffer'
import { InvalidBodyError } from './http-errors.js'

/** Limits on the depth of nesting, on the names in one object, and on the values in the whole body. */
const depthLimit = 64
const nameLimit = 1_000
const valueLimit = 100_000

const quote = 0x22
const comma = 0x2c
const colon = 0x3a
const openArray = 0x5b
const backslash = 0x5c
const closeArray = 0x5d
const openObject = 0x7b
const closeObject = 0x7d

/**
 * Parses a body as JSON. It refuses input that `JSON.parse` accepts but other parsers may read differently, or that is
 * dangerous: bytes that are not UTF-8, the same name twice in one object, names that could change a prototype. It also
 * refuses input that is expensive to parse.
 *
 * @throws InvalidBodyError
 */
export function parseJson(body: Buffer): unknown {
  if (body.length === 0) throw new InvalidBodyError('The body is empty, but its Content-Type is JSON')
  if (!isUtf8(body)) throw new InvalidBodyError('The body is not UTF-8')
  const names = countNames(body)
  let value: unknown
  try {
    const text = body.toString()
    // RFC 8259 allows a parser to ignore a byte order mark.
    value = JSON.parse(text.charCodeAt(0) === 0xfeff ? text.slice(1) : text)
  } catch {
    throw new InvalidBodyError('The body is not valid JSON')
  }
  if (countKeys(value) !== names) throw new InvalidBodyError('An object in the body has the same name twice')
  return value
}

/** Checks the limits on the raw bytes, so that nothing expensive is parsed before it refuses. */
function countNames(body: Buffer): number {
  const namesAt = new Uint32Array(depthLimit + 1)
  let depth = 0
  let names = 0
  let values = 1
  let inString = false
  for (let index = 0; index < body.length; index++) {
    const byte = body[index]
    if (inString) {
      if (byte === backslash) index++
      else if (byte === quote) inString = false
      continue
    }
    if (byte === quote) inString = true
    else if (byte === colon) {
      names++
      if (++namesAt[depth]! > nameLimit)
        throw new InvalidBodyError(`An object in the body has more than ${nameLimit} names`)
    } else if (byte === comma) values++
    else if (byte === openArray || byte === openObject) {
      values++
      if (++depth > depthLimit)
        throw new InvalidBodyError(`The body is nested deeper than ${depthLimit} levels`)
      namesAt[depth] = 0
    } else if (byte === closeArray || byte === closeObject) depth--
  }
  if (values > valueLimit) throw new InvalidBodyError(`The body has more than ${valueLimit} values`)
  return names
}

/**
 * Counts the names in all objects. Of several equal names in one object `JSON.parse` keeps the last, so the count is then
 * less than that of the raw bytes.
 */
function countKeys(root: unknown): number {
  let count = 0
  const pending = [root]
  for (let value = pending.pop(); value !== undefined; value = pending.pop()) {
    if (typeof value !== 'object' || value === null) continue
    if (Array.isArray(value)) {
      for (const element of value) if (typeof element === 'object' && element !== null) pending.push(element)
      continue
    }
    for (const [name, property] of Object.entries(value)) {
      count++
      if (name === '__proto__' || (name === 'constructor' && hasPrototype(property))) {
        throw new InvalidBodyError(`An object in the body has the name ${name}, which is not allowed`)
      }
      if (typeof property === 'object' && property !== null) pending.push(property)
    }
  }
  return count
}

function hasPrototype(value: unknown): boolean {
  return typeof value === 'object' && value !== null && Object.hasOwn(value, 'prototype')
}
