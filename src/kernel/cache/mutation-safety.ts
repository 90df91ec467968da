import { types } from 'node:util'
import { copyOf, copyOfTree } from './data-copy.js'
import { surveyOf } from './data-survey.js'
import { prototypeOf } from './prototypes.js'

/** A value as it is kept: itself, frozen, or what copies are made from; or not to be kept, and why. */
export interface Protected {
  readonly kept: unknown
  /** Where it holds what is no data; undefined if all of it is. */
  readonly trouble: string | undefined
  /** Whether JSON is known to bring it back as it is. */
  readonly isJson: boolean
}

/**
 * What is kept of a value so that no caller's change reaches another. Plain objects and arrays are frozen all the way down,
 * and all share them; of what holds a `Date`, `Map`, `Set`, `RegExp`, bytes, or an instance of a class, each caller gets a
 * copy. What is no data is left as it is: whoever made it may still need it, or others may.
 *
 * @param clone whether each caller is to have a copy in any case
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
  // Only now that all of it has been looked at: nothing of somebody else's is left half frozen.
  for (const part of survey.parts) Object.freeze(part)
  return { kept: value, trouble: undefined, isJson }
}

/** A copy of a value that its owner may go on changing; the value itself if it is no data, and will not be kept. */
export function ownCopyOf(value: unknown): unknown {
  const survey = surveyOf(value)
  return survey.isData ? copyOf(value, survey.ranges) : value
}

/** As `protect` for what a serializer has made: nobody else has it, and it has no getters and nothing hidden. */
export function protectOwn(value: unknown, clone: boolean): Protected {
  const isShared = !isObject(value) || (!clone && freezeOwn(value))
  return { kept: isShared ? value : new Copied(value), trouble: undefined, isJson: false }
}

/** Calls in calls until the rest is left for later: a value may be nested deeper than calls can be. */
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
    // A cycle, or a part that two places share, has been here before.
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

/** Of another context of V8, which a deserializer of V8's may make its objects in. */
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
   * @param isTree whether it is one (`Data.isTree`); undefined if nobody has looked yet
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

  /** Bytes that the value takes in memory, within a factor of two. */
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

/** Bytes that a value takes in memory, within a factor of two: enough to bound a cache by. */
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

/** Of what an object holds beside its parts, which are added to those ahead. */
function sizeOfParts(object: object, ahead: unknown[]): number {
  const before = ahead.length
  // Mostly there is no need to ask what it is.
  if (Object.getPrototypeOf(object) === Object.prototype || Array.isArray(object)) {
    for (const part of Object.values(object)) ahead.push(part)
    return (ahead.length - before) * bytesOfProperty
  }
  if (types.isArrayBufferView(object) || types.isAnyArrayBuffer(object)) return object.byteLength
  if (types.isMap(object)) for (const [key, part] of object) ahead.push(key, part)
  else if (types.isSet(object)) for (const part of object) ahead.push(part)
  for (const part of Object.values(object)) ahead.push(part)
  return (ahead.length - before) * bytesOfProperty
}
