import { types } from 'node:util'
import { copyOf, copyOfTree } from './data-copy.js'
import { surveyOf } from './data-survey.js'
import { prototypeOf } from './prototypes.js'

/** A value in the form in which it is kept, or why it must not be kept. */
export interface Protected {
  /** The frozen value itself, or what copies are made from. */
  readonly kept: unknown
  /** Which part of it is not data, and what it is; undefined if all of it is data. */
  readonly trouble: string | undefined
  /** Whether JSON is known to bring the value back as it is. */
  readonly isJson: boolean
}

/**
 * Makes sure that no caller's change to a value reaches another caller. Plain objects and arrays are frozen with all their parts,
 * and all callers share them. If a value holds a `Date`, `Map`, `Set`, `RegExp`, bytes, or an instance of a class, each caller
 * gets a copy. Anything that is not data is left unchanged, because its owner may still use it.
 *
 * @param clone whether each caller gets a copy in any case
 */
export function protect(value: unknown, clone: boolean): Protected {
  if (!isObject(value)) {
    return {
      kept: value,
      trouble: typeof value === 'function' ? 'value is a function' : undefined,
      isJson: false,
    }
  }
  const survey = surveyOf(value)
  if (!survey.isData) return { kept: value, trouble: survey.trouble, isJson: false }
  const { isJson, isTree, isPlain } = survey
  if (clone || !isPlain) {
    return { kept: new Copied(copyOf(value, survey.ranges), isTree), trouble: undefined, isJson }
  }
  // Only after all of it was found to be data, so that nothing foreign is left half frozen.
  for (const part of survey.parts) Object.freeze(part)
  return { kept: value, trouble: undefined, isJson }
}

/** A copy of a value that its owner may go on changing. A value that is not data is returned itself, as it will not be kept. */
export function ownCopyOf(value: unknown): unknown {
  const survey = surveyOf(value)
  return survey.isData ? copyOf(value, survey.ranges) : value
}

/** Like `protect`, for a value that a serializer has just made. Nobody else has it, and it has no getters or hidden properties. */
export function protectOwn(value: unknown, clone: boolean): Protected {
  const isShared = !isObject(value) || (!clone && freezeOwn(value))
  return { kept: isShared ? value : new Copied(value), trouble: undefined, isJson: false }
}

/** Depth of recursion from which on parts are left for later, because a deeply nested value would overflow the stack. */
const deepest = 200

/** @returns whether that protects all of it: a frozen `Date`, `Map`, `Set` or buffer can still be changed */
function freezeOwn(value: object): boolean {
  const freezing = new Freezing()
  let isFrozen = freezing.reach(value, 0)
  for (let rest = freezing.later.pop(); rest; rest = freezing.later.pop())
    isFrozen = freezing.reach(rest, 0) && isFrozen
  return isFrozen
}

class Freezing {
  readonly later: object[] = []

  reach(value: object, depth: number): boolean {
    const prototype: unknown = Object.getPrototypeOf(value)
    if (prototype !== Object.prototype && !Array.isArray(value) && !isPlain(prototype)) return false
    // Already frozen, so already visited: a cycle, or a part that two places share.
    if (Object.isFrozen(value)) return true
    if (depth === deepest) {
      this.later.push(value)
      return true
    }
    Object.freeze(value)
    let isFrozen = true
    for (const part of Object.values(value)) {
      if (isObject(part)) isFrozen = this.reach(part, depth + 1) && isFrozen
    }
    return isFrozen
  }
}

/** Whether it is the prototype of plain objects in another V8 context, where V8's deserializer may create its objects. */
function isPlain(prototype: unknown): boolean {
  const { kind } = prototypeOf(prototype as object | null)
  return kind === 'object' || kind === 'none'
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null
}

/** A value of which each caller gets a copy. */
export class Copied {
  readonly #own: unknown
  #isTree: boolean | undefined

  /**
   * @param own data that nobody else has
   * @param isTree see `Data.isTree`; undefined if that is not known yet
   */
  constructor(own: unknown, isTree?: boolean) {
    this.#own = own
    this.#isTree = isTree
  }

  copy(): unknown {
    if (this.#isTree === undefined) {
      const survey = surveyOf(this.#own)
      this.#isTree = survey.isData && survey.isTree
    }
    return this.#isTree ? copyOfTree(this.#own) : copyOf(this.#own)
  }

  /** Estimated bytes of the value in memory, right to within a factor of two. */
  get estimatedBytes(): number {
    return estimatedBytes(this.#own)
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
  return clone ? copyOf(kept) : kept
}

const bytesOfObject = 24
const bytesOfProperty = 16

/** Estimated bytes of a value in memory, right to within a factor of two. That is enough to limit a cache. */
export function estimatedBytes(value: unknown): number {
  if (value instanceof Copied) return value.estimatedBytes
  const met = new Set<object>()
  const ahead: unknown[] = [value]
  let bytes = 0
  while (ahead.length > 0) {
    const part = ahead.pop()
    if (typeof part === 'string') bytes += bytesOfProperty + part.length * 2
    else if (!isObject(part) || met.has(part)) bytes += 8
    else {
      met.add(part)
      bytes += bytesOfObject + sizeOfParts(part, ahead)
    }
  }
  return bytes
}

/** The bytes that an object holds beside its parts. The parts are appended to `ahead`. */
function sizeOfParts(object: object, ahead: unknown[]): number {
  const before = ahead.length
  // Plain objects and arrays are by far the most frequent.
  if (Object.getPrototypeOf(object) === Object.prototype || Array.isArray(object)) {
    for (const part of Object.values(object)) ahead.push(part)
    return (ahead.length - before) * bytesOfProperty
  }
  if (types.isArrayBufferView(object) || types.isAnyArrayBuffer(object)) return object.byteLength
  // A subclass may iterate over something other than its entries.
  if (types.isMap(object)) Map.prototype.forEach.call(object, (part, key) => ahead.push(key, part))
  else if (types.isSet(object)) Set.prototype.forEach.call(object, (part) => ahead.push(part))
  for (const part of Object.values(object)) ahead.push(part)
  return (ahead.length - before) * bytesOfProperty
}
