import { types } from 'node:util'
import { DefaultDeserializer, serialize } from 'node:v8'
import type { Serializer } from './serializer.js'

/** The first byte of a payload says which of the two it is. */
const json = 0
const structured = 1

/**
 * JSON for what JSON brings back as it was, and V8's structured clone for what it does not: `Date`, `Map`, `Set`,
 * `bigint`, binary, `undefined` inside objects, `NaN`, `-0`, cycles. JSON is several times quicker to read, and most
 * values are.
 *
 * Instances of other classes, functions and symbols are refused: they would come back as something else.
 */
export class StructuredSerializer implements Serializer {
  readonly format = 1

  /** @throws TypeError naming where in the value the trouble is */
  serialize(value: unknown): Uint8Array {
    const walk = new Walk()
    if (value === undefined) throw new TypeError('undefined cannot be brought back')
    if (walk.isJson(value, 'value')) return Buffer.from(`\0${JSON.stringify(value)}`)
    return Buffer.concat([Buffer.of(structured), serialize(value)])
  }

  deserialize(bytes: Uint8Array): unknown {
    const buffer = Buffer.isBuffer(bytes)
      ? bytes
      : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    if (buffer[0] === json) return JSON.parse(buffer.toString('utf8', 1))
    if (buffer[0] === structured) return new OwnedBytes(buffer.subarray(1)).read()
    throw new TypeError(`${buffer[0]} is no encoding of this serializer`)
  }
}

/**
 * V8's own deserializer makes binary parts of the very bytes that it reads, so that whoever changed such a part would
 * change what the next reader is given.
 */
class OwnedBytes extends DefaultDeserializer {
  read(): unknown {
    this.readHeader()
    return this.readValue()
  }

  _readHostObject(): ArrayBufferView {
    const view = (DefaultDeserializer.prototype as HostObjects)._readHostObject.call(this)
    if (Buffer.isBuffer(view)) return Buffer.from(view)
    const { buffer, byteOffset, byteLength } = view
    const View = view.constructor as new (owned: ArrayBufferLike) => ArrayBufferView
    return new View(buffer.slice(byteOffset, byteOffset + byteLength))
  }
}

/** A documented hook of the deserializer's that its types leave out. */
interface HostObjects extends DefaultDeserializer {
  _readHostObject(): ArrayBufferView
}

/** Looks at every part of a value, once. */
class Walk {
  readonly #seen = new Set<object>()

  /**
   * @returns whether JSON alone would bring it back as it is
   * @throws TypeError if nothing would
   */
  isJson(value: unknown, path: string): boolean {
    switch (typeof value) {
      case 'string':
      case 'boolean':
        return true
      case 'number':
        return Number.isFinite(value) && !Object.is(value, -0)
      case 'undefined':
      case 'bigint':
        return false
      case 'object':
        return value === null || this.#isJsonObject(value, path)
      default:
        throw new TypeError(`${path}: a ${typeof value} cannot be brought back`)
    }
  }

  #isJsonObject(value: object, path: string): boolean {
    // Once more is once too often for JSON: a cycle, or two places that share a part.
    if (this.#seen.has(value)) return false
    this.#seen.add(value)
    if (Array.isArray(value)) return this.#isJsonArray(value, path)
    if (isBinary(value) || types.isDate(value)) return false
    if (types.isMap(value) || types.isSet(value)) {
      let index = 0
      for (const part of types.isMap(value) ? [...value].flat() : value)
        this.isJson(part, `${path}<${index++}>`)
      return false
    }
    if (!isPlain(value)) {
      throw new TypeError(`${path}: an instance of a class cannot be brought back`)
    }
    if (Object.getOwnPropertySymbols(value).length > 0) {
      throw new TypeError(`${path}: a property named by a symbol cannot be brought back`)
    }
    // JSON would make a plain object of one without a prototype; so does V8, which nobody can tell apart by its data.
    let isJson = true
    for (const [name, part] of Object.entries(value)) {
      isJson = this.isJson(part, `${path}.${name}`) && name !== 'toJSON' && name !== '__proto__' && isJson
    }
    return isJson
  }

  #isJsonArray(values: unknown[], path: string): boolean {
    let isJson = true
    let count = 0
    for (const index in values) {
      count++
      isJson = this.isJson(values[index], `${path}[${index}]`) && isJson
    }
    // JSON would fill the holes of a sparse one.
    return isJson && count === values.length
  }
}

function isBinary(value: object): boolean {
  return types.isArrayBufferView(value) || types.isAnyArrayBuffer(value)
}

/** Whether it is an object literal, of whatever context of V8: each has an `Object.prototype` of its own. */
function isPlain(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === null || Object.getPrototypeOf(prototype) === null
}
