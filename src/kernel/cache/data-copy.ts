import { type BuiltIn, builtInOf } from './built-ins.js'
import { mostNames, type Range } from './data-survey.js'
import { prototypeOf } from './prototypes.js'

/**
 * A copy of a value that is data, as `surveyOf` says: nothing that is done to the one reaches the other. Objects keep their
 * prototypes, and each place that shared a part with another still does. What was frozen of plain objects and arrays can be
 * changed in the copy; instances of classes are as closed as they were.
 *
 * @param ranges the bytes to copy of each buffer; all of them where it does not say
 */
export function copyOf(value: unknown, ranges?: ReadonlyMap<ArrayBufferLike, Range>): unknown {
  return isObject(value) ? new Copying(ranges).copy(value) : value
}

/** Calls in calls until the rest is copied by a list: a value may be nested deeper than calls can be. */
const deepest = 200

/** The same of a value whose survey says that it is a tree, in a quarter of the time. */
export function copyOfTree(value: unknown, depth = 0): unknown {
  if (!isObject(value)) return value
  const prototype: unknown = Object.getPrototypeOf(value)
  if (depth === deepest) return copyOf(value)
  if (prototype === Array.prototype) return (value as unknown[]).map((part) => copyOfTree(part, depth + 1))
  if (prototype === Date.prototype) return new Date((value as Date).getTime())
  if (prototype !== Object.prototype) return copyOf(value)
  const copy: Parts = {}
  for (const name of Object.keys(value)) copy[name] = copyOfTree((value as Parts)[name], depth + 1)
  return copy
}

/** Goes by a list of its own: a value may be nested deeper than calls can be. */
class Copying {
  readonly #copies = new Map<object, object>()
  readonly #unfilled: { readonly from: object; readonly to: object; readonly kind: Kind }[] = []

  constructor(private readonly ranges: ReadonlyMap<ArrayBufferLike, Range> | undefined) {}

  copy(value: object): object {
    const copy = this.#part(value)
    for (let next = this.#unfilled.pop(); next; next = this.#unfilled.pop()) {
      const { from, to, kind } = next
      if (kind === 'plain') this.#fillPlain(from, to)
      else this.#fill(from, to, kind)
    }
    return copy as object
  }

  /** Of a value that is part of another. */
  #part(value: unknown): unknown {
    if (!isObject(value)) return value
    const known = this.#copies.get(value)
    if (known) return known
    const { kind, to } = this.#begun(value)
    this.#copies.set(value, to)
    this.#unfilled.push({ from: value, to, kind })
    return to
  }

  /** An empty object of the same kind. */
  #begun(from: object): { readonly kind: Kind; readonly to: object } {
    const prototype: object | null = Object.getPrototypeOf(from)
    const { kind } = prototypeOf(prototype)
    if (Array.isArray(from)) {
      return { kind: kind === 'array' ? 'plain' : 'instance', to: withPrototype([], prototype) }
    }
    if (prototype === Object.prototype) return { kind: 'plain', to: {} }
    if (kind === 'object' || kind === 'none') return { kind: 'plain', to: Object.create(prototype) }
    const builtIn = builtInOf(from) as BuiltIn | undefined
    if (!builtIn) return { kind: 'instance', to: Object.create(prototype) }
    return { kind: builtIn, to: withPrototype(this.#builtIn(from, builtIn), prototype) }
  }

  #builtIn(from: object, builtIn: BuiltIn): object {
    switch (builtIn) {
      case 'date':
        return new Date(Date.prototype.getTime.call(from))
      case 'map':
        return new Map()
      case 'set':
        return new Set()
      case 'regexp':
        return new RegExp(
          Reflect.get(RegExp.prototype, 'source', from),
          Reflect.get(RegExp.prototype, 'flags', from),
        )
      case 'buffer':
        return this.#bytes(from as ArrayBuffer)
      case 'view':
        return this.#view(from as ArrayBufferView)
    }
  }

  #bytes(from: ArrayBufferLike): ArrayBuffer {
    const known = this.#copies.get(from)
    if (known) return known as ArrayBuffer
    const copy = from.slice(this.#startOf(from), this.ranges?.get(from)?.end) as ArrayBuffer
    this.#copies.set(from, copy)
    return copy
  }

  /** Where a number of any size may begin. */
  #startOf(buffer: ArrayBufferLike): number {
    const start = this.ranges?.get(buffer)?.start ?? 0
    return start - (start % 8)
  }

  #view(from: ArrayBufferView): ArrayBufferView {
    const { buffer, byteOffset, byteLength } = from
    const bytes = this.#bytes(buffer)
    const offset = byteOffset - this.#startOf(buffer)
    if (Buffer.isBuffer(from)) return Buffer.from(bytes, offset, byteLength)
    const name = kindOfView(from)
    if (name === undefined) return new DataView(bytes, offset, byteLength)
    return new typedArrays[name](bytes, offset, (from as Uint8Array).length)
  }

  #fillPlain(from: object, to: object): void {
    if (Array.isArray(from) && Array.isArray(to)) to.length = from.length
    const names = Object.keys(from)
    for (const name of names) {
      if (name !== '__proto__') (to as Parts)[name] = this.#part((from as Parts)[name])
      else this.#define(from, to, name, writable)
    }
    this.#fillHidden(from, to, names.length)
  }

  /** What is not enumerable, or named by a symbol. */
  #fillHidden(from: object, to: object, visible: number): void {
    const isLarge = Array.isArray(from) && visible > mostNames
    const hidden = isLarge ? [] : Object.getOwnPropertyNames(from)
    if (hidden.length > visible) {
      for (const name of hidden) if (!Object.hasOwn(to, name)) this.#define(from, to, name, writable)
    }
    for (const name of Object.getOwnPropertySymbols(from)) this.#define(from, to, name, writable)
  }

  #fill(from: object, to: object, kind: Kind): void {
    if (kind === 'map') {
      Map.prototype.forEach.call(from, (value, key) => {
        Map.prototype.set.call(to, this.#part(key), this.#part(value))
      })
    } else if (kind === 'set') {
      Set.prototype.forEach.call(from, (value) => Set.prototype.add.call(to, this.#part(value)))
    } else if (kind === 'regexp') (to as RegExp).lastIndex = (from as RegExp).lastIndex
    const isView = kind === 'view'
    // The elements of a view are there.
    if (isView && prototypeOf(Object.getPrototypeOf(from)).kind === 'built-in') return
    for (const name of Reflect.ownKeys(from)) {
      if (isView && typeof name === 'string' && Object.hasOwn(to, name)) continue
      if (kind !== 'regexp' || name !== 'lastIndex') this.#define(from, to, name, {})
    }
    if (!Object.isExtensible(from)) Object.preventExtensions(to)
  }

  #define(from: object, to: object, name: string | symbol, changed: PropertyDescriptor): void {
    const property = Reflect.getOwnPropertyDescriptor(from, name) as PropertyDescriptor
    Reflect.defineProperty(to, name, { ...property, ...changed, value: this.#part(property.value) })
  }
}

const writable = { writable: true, configurable: true }

type Kind = BuiltIn | 'plain' | 'instance'
type Parts = Record<string, unknown>

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null
}

/** To change it takes longer than the copy, so only where it has to be. */
function withPrototype(object: object, prototype: object | null): object {
  return Object.getPrototypeOf(object) === prototype ? object : Object.setPrototypeOf(object, prototype)
}

const typedArrays = {
  Int8Array,
  Uint8Array,
  Uint8ClampedArray,
  Int16Array,
  Uint16Array,
  Int32Array,
  Uint32Array,
  Float32Array,
  Float64Array,
  BigInt64Array,
  BigUint64Array,
}

/** @returns undefined for a `DataView` */
function kindOfView(view: ArrayBufferView): keyof typeof typedArrays | undefined {
  return Reflect.get(Object.getPrototypeOf(Uint8Array.prototype), Symbol.toStringTag, view)
}
