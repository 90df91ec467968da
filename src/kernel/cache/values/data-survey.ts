import { types } from 'node:util'
import { type BuiltIn, builtInOf } from './built-ins.js'
import { isClassOf, type Prototype, prototypeOf } from './prototypes.js'
import { asKey, isIndex, type Place, pathTo } from './value-path.js'

/**
 * What a value is made of. *Data* is primitives, plain objects and arrays, the built-ins that can be copied (`Date`, `Map`,
 * `Set`, `RegExp`, `ArrayBuffer` and its views), and instances of classes whose whole state is readable. Everything else is
 * *foreign*: functions, sockets, a locale with functions, instances with private members. Freezing or copying them could break
 * them, and a copy could miss a part of them.
 */
export type Survey = Data | Foreign

export interface Data {
  readonly isData: true
  /** Whether it consists of primitives, plain objects and arrays only. Once frozen, it can be shared by all callers. */
  readonly isPlain: boolean
  /** All objects in the value, in order to freeze them. */
  readonly parts: ReadonlySet<object>
  /** Which part neither JSON nor V8's structured clone brings back as it is, and why; undefined if one of them does. */
  readonly uncarried: string | undefined
  /** Whether JSON brings the value back as it is. */
  readonly isJson: boolean
  /** Whether no object is in two places and none has hidden properties, so that a simple recursive copy is complete. */
  readonly isTree: boolean
  /** For each buffer, the range of bytes that the value uses. */
  readonly ranges: ReadonlyMap<ArrayBufferLike, Range>
}

export interface Foreign {
  readonly isData: false
  /** The part that is not data, and what it is: `value.links[3].url is an instance of URL`. */
  readonly trouble: string
}

export interface Range {
  readonly start: number
  readonly end: number
}

/** Never runs code of the value: it reads no getter and calls no method. */
export function surveyOf(value: unknown): Survey {
  return new Walk().survey(value)
}

/** Keeps a list of what is left to visit instead of recursing, because a deeply nested value would overflow the stack. */
class Walk {
  readonly #met = new Set<object>()
  readonly #ahead: Place[] = []
  readonly #shown = new Map<ArrayBufferLike, Range[]>()
  #isPlain = true
  #isJson = true
  #isTree = true
  #uncarried: string | undefined
  #trouble: string | undefined

  survey(value: unknown): Survey {
    this.#visit(value, undefined, undefined)
    for (let place = this.#ahead.pop(); place && !this.#trouble; place = this.#ahead.pop()) this.#enter(place)
    if (this.#trouble) return { isData: false, trouble: this.#trouble }
    const ranges = this.#ranges()
    return {
      isData: true,
      isPlain: this.#isPlain,
      parts: this.#met,
      uncarried: this.#uncarried,
      isJson: this.#isJson && this.#uncarried === undefined,
      isTree: this.#isTree && this.#uncarried === undefined,
      ranges,
    }
  }

  /** Judges a primitive at once, and puts an object on the list. */
  #visit(value: unknown, from: Place | undefined, step: unknown): void {
    switch (typeof value) {
      case 'object':
        if (value !== null) this.#meet(value, from, step)
        break
      case 'function':
        this.#refuse(from, step, 'is a function')
        break
      case 'number':
        this.#isJson &&= Number.isFinite(value) && !Object.is(value, -0)
        break
      case 'undefined':
      case 'bigint':
        this.#isJson = false
        break
      case 'symbol':
        this.#keepFromL2(from, step, 'is a symbol')
    }
  }

  #meet(object: object, from: Place | undefined, step: unknown): void {
    // JSON keeps neither a cycle nor a part that two places share.
    if (this.#met.has(object)) {
      this.#isJson = false
      this.#isTree = false
    } else {
      this.#met.add(object)
      this.#ahead.push({ object, from, step })
    }
  }

  #enter(place: Place): void {
    const { object, from, step } = place
    // Checked first, because any other question would run the proxy's traps.
    if (types.isProxy(object)) this.#refuse(from, step, 'is a proxy')
    else this.#enterKind(object, place, prototypeOf(Object.getPrototypeOf(object)))
  }

  #enterKind(object: object, place: Place, prototype: Prototype): void {
    if (Array.isArray(object)) {
      if (prototype.kind !== 'array') this.#enterInstance(place, prototype)
      this.#enterArray(object, place)
    } else if (prototype.kind === 'object') this.#enterProperties(object, place, true)
    else this.#enterOther(object, place, prototype)
  }

  #enterOther(object: object, place: Place, prototype: Prototype): void {
    const builtIn = builtInOf(object)
    if (builtIn === 'foreign') this.#refuse(place.from, place.step, `is ${described(object, prototype)}`)
    else if (builtIn) {
      this.#isPlain = false
      this.#isJson = false
      if (prototype.kind !== 'built-in') this.#enterInstance(place, prototype)
      this.#enterBuiltIn(object, builtIn, place, prototype)
    } else {
      const isPlain = prototype.kind === 'none'
      // JSON and V8 would both bring it back with the prototype of other objects.
      if (isPlain) this.#keepFromL2(place.from, place.step, 'has no prototype')
      else this.#enterInstance(place, prototype)
      this.#enterProperties(object, place, isPlain)
    }
  }

  #enterInstance({ from, step }: Place, { name, trouble }: Prototype): void {
    this.#isPlain = false
    if (trouble) this.#refuse(from, step, `is an instance of ${name}, ${trouble}`)
    else this.#keepFromL2(from, step, `is an instance of ${name}`)
  }

  #enterArray(array: unknown[], place: Place): void {
    const isDense = Object.keys(array).length === array.length && this.#enterElements(array, place)
    // JSON would fill the holes of a sparse array, and drop properties that are not elements.
    if (!isDense) {
      this.#isJson = false
      this.#isTree = false
    }
    // For a large array, reading its property names costs more than everything else. Large arrays with further properties are
    // rare, so they are not looked for.
    const names = isDense && array.length > mostNames ? [] : Object.getOwnPropertyNames(array)
    const others = isDense ? names.slice(array.length) : names
    for (const name of others) if (name !== 'length') this.#enterProperty(array, name, place, true)
    for (const name of Object.getOwnPropertySymbols(array)) this.#enterProperty(array, name, place, true)
  }

  /** @returns false, early, if there is a hole */
  #enterElements(array: unknown[], place: Place): boolean {
    for (let index = 0; index < array.length; index++) {
      if (!this.#enterProperty(array, index, place, true)) return false
    }
    return true
  }

  #enterProperties(object: object, place: Place, isPlain: boolean): void {
    // `Reflect.ownKeys` would take twice as long as these two calls together.
    for (const name of Object.getOwnPropertyNames(object)) {
      if (name === '__proto__') this.#isTree = false
      this.#enterProperty(object, name, place, isPlain)
    }
    for (const name of Object.getOwnPropertySymbols(object)) this.#enterProperty(object, name, place, isPlain)
  }

  /** @returns whether the object has such a property */
  #enterProperty(object: object, name: PropertyKey, place: Place, isPlain: boolean): boolean {
    const property = Object.getOwnPropertyDescriptor(object, name)
    if (!property) return false
    const { value, enumerable } = property
    if (!('value' in property)) this.#refuse(place, name, 'is a property with a getter or a setter')
    else if (typeof name === 'symbol') this.#keepFromL2(place, name, 'is named by a symbol')
    else if (!enumerable) this.#keepFromL2(place, name, 'is not enumerable')
    // Some classes, such as those of decimal.js, give each instance a `constructor` property of its own.
    const isOwnClass = !isPlain && name === 'constructor' && isClassOf(value, object)
    if (!isOwnClass) this.#visit(value, place, name)
    return true
  }

  #enterBuiltIn(object: object, builtIn: BuiltIn, place: Place, prototype: Prototype): void {
    if (builtIn === 'map') {
      Map.prototype.forEach.call(object, (value, key) => {
        this.#visit(key, place, asKey)
        this.#visit(value, place, key)
      })
    } else if (builtIn === 'set') {
      Set.prototype.forEach.call(object, (value) => this.#visit(value, place, value))
    } else if (builtIn === 'buffer') this.#show(object as ArrayBuffer, object as ArrayBuffer, 0)
    else if (builtIn === 'view') {
      const { buffer, byteOffset } = object as ArrayBufferView
      if (types.isSharedArrayBuffer(buffer))
        this.#refuse(place.from, place.step, 'is a view of shared memory')
      this.#show(buffer, object as ArrayBufferView, byteOffset)
      // Its elements are its own properties and need no look. Only subclasses are expected to add others.
      if (prototype.kind === 'built-in') return
    }
    for (const name of Reflect.ownKeys(object)) {
      if (builtIn === 'regexp' && name === 'lastIndex') {
        if ((object as RegExp).lastIndex !== 0) this.#keepFromL2(place, name, 'is not 0')
      } else if (builtIn !== 'view' || typeof name === 'symbol' || !isIndex(name)) {
        this.#keepFromL2(place, name, 'is a property of a built-in object')
        this.#enterProperty(object, name, place, false)
      }
    }
  }

  #show(buffer: ArrayBufferLike, { byteLength }: { readonly byteLength: number }, start: number): void {
    const shown = this.#shown.get(buffer)
    const range = { start, end: start + byteLength }
    if (shown) {
      this.#isTree = false
      shown.push(range)
    } else this.#shown.set(buffer, [range])
  }

  /**
   * The bytes that are used of each buffer. Views that overlap cannot go to L2: they would come back with buffers of their own,
   * and a write to one would no longer show in the other.
   */
  #ranges(): ReadonlyMap<ArrayBufferLike, Range> {
    const ranges = new Map<ArrayBufferLike, Range>()
    for (const [buffer, shown] of this.#shown) {
      let start = buffer.byteLength
      let end = 0
      for (const range of shown.sort((one, other) => one.start - other.start)) {
        if (range.start < end) this.#uncarried ??= 'value holds views that share bytes'
        start = Math.min(start, range.start)
        end = Math.max(end, range.end)
      }
      ranges.set(buffer, { start, end })
    }
    return ranges
  }

  #refuse(from: Place | undefined, step: unknown, trouble: string): void {
    this.#trouble ??= `${pathTo(from, step)} ${trouble}`
  }

  /** Records that a part is data, but that a serializer would bring it back as something else. */
  #keepFromL2(from: Place | undefined, step: unknown, reason: string): void {
    this.#uncarried ??= `${pathTo(from, step)} ${reason}`
  }
}

/** Longest array that is searched for properties beside its elements that are not enumerable. */
export const mostNames = 1_000

function described(object: object, { name }: Prototype): string {
  if (types.isNativeError(object)) return 'an error'
  return name === '' ? 'a built-in object whose state cannot be read' : `an instance of ${name}`
}
