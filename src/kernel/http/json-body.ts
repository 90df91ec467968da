import { isUtf8 } from 'node:buffer'
import { InvalidBodyError } from './http-errors.js'

/** Arrays and objects within one another; names in one object; values of all kinds in all. */
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
 * Reads a body as JSON, and refuses what `JSON.parse` would take and others read differently: bytes that are not
 * UTF-8, a name twice in one object, names that reach for a prototype. Refuses as well what is costly to read.
 *
 * @throws InvalidBodyError
 */
export function parseJson(body: Buffer): unknown {
  if (body.length === 0) throw new InvalidBodyError('It is empty, but Content-Type says that it is JSON')
  if (!isUtf8(body)) throw new InvalidBodyError('It is not UTF-8')
  const names = countNames(body)
  let value: unknown
  try {
    const text = body.toString()
    // A byte order mark: RFC 8259 lets a reader ignore it.
    value = JSON.parse(text.charCodeAt(0) === 0xfeff ? text.slice(1) : text)
  } catch {
    throw new InvalidBodyError('It is not valid JSON')
  }
  if (countKeys(value) !== names) throw new InvalidBodyError('An object in it has the same name twice')
  return value
}

/** Looks at the bytes alone, so that nothing costly has been read when it refuses. */
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
        throw new InvalidBodyError(`An object in it has more than ${nameLimit} names`)
    } else if (byte === comma) values++
    else if (byte === openArray || byte === openObject) {
      values++
      if (++depth > depthLimit) throw new InvalidBodyError(`It is nested deeper than ${depthLimit} levels`)
      namesAt[depth] = 0
    } else if (byte === closeArray || byte === closeObject) depth--
  }
  if (values > valueLimit) throw new InvalidBodyError(`It has more than ${valueLimit} values`)
  return names
}

/** Names in all objects, each once in its object, as `JSON.parse` keeps the last of several. */
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
        throw new InvalidBodyError(`An object in it has the name ${name}, which is refused`)
      }
      if (typeof property === 'object' && property !== null) pending.push(property)
    }
  }
  return count
}

function hasPrototype(value: unknown): boolean {
  return typeof value === 'object' && value !== null && Object.hasOwn(value, 'prototype')
}
