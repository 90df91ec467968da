import { types } from 'node:util'
import { StructuredSerializer } from './structured-serializer.js'

/**
 * Freezes plain objects and arrays all the way down, so that all callers can share them.
 *
 * @returns whether that protects all of it: a frozen `Date`, `Map`, `Set` or buffer can still be changed
 */
export function deepFreeze(value: unknown): boolean {
  return !isObject(value) || new Freezing().reach(value)
}

class Freezing {
  /** Made where it is needed: what comes off a wire has nothing frozen in it. */
  #met: Set<object> | undefined

  reach(value: object): boolean {
    if (isChangeableWhenFrozen(value)) return false
    // Frozen before its parts, so that a cycle ends here. What is frozen already need not be so all the way down; it is
    // gone through once, as it may be a cycle, too.
    if (!Object.isFrozen(value)) Object.freeze(value)
    else if (this.#hasMet(value)) return true
    let frozen = true
    for (const inner of Object.values(value)) {
      if (isObject(inner)) frozen = this.reach(inner) && frozen
    }
    return frozen
  }

  #hasMet(value: object): boolean {
    this.#met ??= new Set()
    if (this.#met.has(value)) return true
    this.#met.add(value)
    return false
  }
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null
}

/** By what it is rather than by `instanceof`, which knows nothing of objects from another context of V8. */
function isChangeableWhenFrozen(value: object): boolean {
  const { isAnyArrayBuffer, isArrayBufferView, isDate, isMap, isSet } = types
  return isDate(value) || isMap(value) || isSet(value) || isAnyArrayBuffer(value) || isArrayBufferView(value)
}

const serializer = new StructuredSerializer()

/** A value of which each caller gets a copy: kept as bytes, so that a copy costs half of what copying would. */
export class Copied {
  readonly #bytes: Uint8Array

  /** @throws TypeError if a copy would not be what the value is, as with an instance of a class */
  constructor(value: unknown) {
    this.#bytes = serializer.serialize(value)
  }

  get byteLength(): number {
    return this.#bytes.byteLength
  }

  copy(): unknown {
    return serializer.deserialize(this.#bytes)
  }
}

/** Whether all callers can be given the same. */
export function isShareable(kept: unknown): boolean {
  return !(kept instanceof Copied)
}

/**
 * What a caller is given of what an entry keeps: all the same frozen value, or each a copy.
 *
 * @param clone whether this caller wants a copy even of what all may share
 */
export function givenOf(kept: unknown, clone = false): unknown {
  if (kept instanceof Copied) return kept.copy()
  if (!clone) return kept
  try {
    return new Copied(kept).copy()
  } catch {
    // An instance of a class, say. It is frozen: whoever tries to change it finds out.
    return kept
  }
}

/** Bytes that a value takes in memory, within a factor of two: enough to bound a cache by. */
export function estimatedBytes(value: unknown): number {
  if (value instanceof Copied) return value.byteLength
  return estimate(value, new Set())
}

const bytesOfObject = 24
const bytesOfProperty = 16

function estimate(value: unknown, seen: Set<object>): number {
  if (typeof value === 'string') return bytesOfProperty + value.length * 2
  if (typeof value !== 'object' || value === null) return 8
  if (seen.has(value)) return 8
  seen.add(value)
  if (types.isArrayBufferView(value) || types.isAnyArrayBuffer(value)) return bytesOfObject + value.byteLength
  let bytes = bytesOfObject
  if (types.isMap(value) || types.isSet(value)) {
    for (const part of types.isMap(value) ? [...value].flat() : value)
      bytes += bytesOfProperty + estimate(part, seen)
  }
  for (const part of Object.values(value)) bytes += bytesOfProperty + estimate(part, seen)
  return bytes
}
