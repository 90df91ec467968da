import { DefaultDeserializer, serialize } from 'node:v8'
import { surveyOf } from './data-survey.js'
import type { Serializer } from './serializer.js'

/** The first byte of a payload says which of the two it is. */
const json = 0
const structured = 1

/**
 * JSON for what JSON brings back as it was, and V8's structured clone for what it does not: `Date`, `Map`, `Set`, `RegExp`,
 * `bigint`, binary, `undefined` inside objects, `NaN`, `-0`, cycles. JSON is several times quicker to read, and most
 * values are.
 *
 * Functions, symbols, hidden properties and instances of other classes, including subclasses of those above, are refused: they
 * would come back as something else. A value that is nested several thousand levels deep is refused, too, because both formats
 * overflow the stack.
 */
export class StructuredSerializer implements Serializer {
  readonly format = 1

  /**
   * @throws TypeError naming where in the value the trouble is
   * @throws RangeError if it is nested too deeply
   */
  serialize(value: unknown, isJson = false): Uint8Array {
    if (isJson) return jsonOf(value)
    if (value === undefined) throw new TypeError('undefined cannot be brought back')
    const survey = surveyOf(value)
    if (!survey.isData) throw new TypeError(`${survey.trouble}, which cannot be brought back`)
    if (survey.uncarried) throw new TypeError(`${survey.uncarried}, which would not be brought back`)
    if (survey.isJson) return jsonOf(value)
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

function jsonOf(value: unknown): Buffer {
  return Buffer.from(`\0${JSON.stringify(value)}`)
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
