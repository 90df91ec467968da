import { types } from 'node:util'

/**
 * What a value is made of. *Data* is primitives, plain objects and arrays, the built-ins that can be copied (`Date`, `Map`,
 * `Set`, `RegExp`, `ArrayBuffer` and its views), and instances of classes whose whole state can be seen. Whatever else a value
 * holds is somebody's own: a function, a socket, a locale with functions, private members. Nobody but its owner can freeze or
 * copy it without breaking it, or without missing a part.
 */
export type Survey = Data | Foreign

export interface Data {
  readonly isData: true
  /** Plain objects and arrays all the way down: frozen, all callers can share them. */
  readonly isPlain: boolean
  /** All objects of a plain value, for freezing. */
  readonly parts: ReadonlySet<object>
  /** Where and why neither JSON nor V8's structured clone would bring it back as it is; undefined if one of them does. */
  readonly uncarried: string | undefined
  /** Whether JSON does. */
  readonly isJson: boolean
  /** The bytes of each buffer that views of the value show. */
  readonly ranges: ReadonlyMap<ArrayBufferLike, Range>
}

export interface Foreign {
  readonly isData: false
  /** Where in the value, and what is there: `value.links[3].url is an instance of URL`. */
  readonly trouble: string
}

export interface Range {
  readonly start: number
  readonly end: number
}

/** Never calls into the value: no getter of it is read, and no method of it is called. */
export function surveyOf(value: unknown): Survey {
  return new Walk().survey(value)
}

/** An object of the value, and how it was come by. */
interface Place {
  readonly object: object
  readonly from: Place | undefined
  readonly step: unknown
}

/** Goes by a list of its own: a value may be nested deeper than calls can be. */
class Walk {
  readonly #met = new Set<object>()
  readonly #ahead: Place[] = []
  readonly #shown = new Map<ArrayBufferLike, Range[]>()
  #isPlain = true
  #isJson = true
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
      ranges,
    }
  }

  /** One value, which may be an object to go into later. */
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
    // Once more is once too often for JSON: a cycle, or two places that share a part.
    if (this.#met.has(object)) this.#isJson = false
    else {
      this.#met.add(object)
      this.#ahead.push({ object, from, step })
    }
  }

  #enter(place: Place): void {
    const { object, from, step } = place
    // Before anything is asked of it, as that would call its traps.
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
      if (!isPlain) this.#enterInstance(place, prototype)
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
    // JSON would fill the holes of a sparse one, and leave out what is no element.
    if (!isDense) this.#isJson = false
    // Of many elements, to ask for their names takes longer than all else; and who would hide something beside them?
    const names = isDense && array.length > mostNames ? [] : Object.getOwnPropertyNames(array)
    const others = isDense ? names.slice(array.length) : names
    for (const name of others) if (name !== 'length') this.#enterProperty(array, name, place, true)
    this.#enterSymbols(array, place, true)
  }

  /** @returns false, early, if there is a hole */
  #enterElements(array: unknown[], place: Place): boolean {
    for (let index = 0; index < array.length; index++) {
      if (!this.#enterProperty(array, index, place, true)) return false
    }
    return true
  }

  #enterProperties(object: object, place: Place, isPlain: boolean): void {
    for (const name of Object.getOwnPropertyNames(object)) {
      if (name === 'toJSON' || name === '__proto__') this.#isJson = false
      this.#enterProperty(object, name, place, isPlain)
    }
    this.#enterSymbols(object, place, isPlain)
  }

  #enterSymbols(object: object, place: Place, isPlain: boolean): void {
    for (const name of Object.getOwnPropertySymbols(object)) this.#enterProperty(object, name, place, isPlain)
  }

  /** @returns whether there is one */
  #enterProperty(object: object, name: PropertyKey, place: Place, isPlain: boolean): boolean {
    const property = Object.getOwnPropertyDescriptor(object, name)
    if (!property) return false
    const { value, enumerable } = property
    if (!('value' in property)) this.#refuse(place, name, 'is a property with a getter or a setter')
    else if (typeof name === 'symbol') this.#keepFromL2(place, name, 'is named by a symbol')
    else if (!enumerable) this.#keepFromL2(place, name, 'is not enumerable')
    // Some classes name themselves in each instance, as those of decimal.js do.
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
      if (types.isSharedArrayBuffer(buffer)) this.#refuse(place.from, place.step, 'shows shared memory')
      this.#show(buffer, object as ArrayBufferView, byteOffset)
      // All of its elements are properties by name; nobody but a subclass adds others.
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
    if (shown) shown.push(range)
    else this.#shown.set(buffer, [range])
  }

  /** What is shown of each buffer. Two views of the same bytes, apart, would no longer show what is written to the other. */
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

  /** It is data, but would come back as something else. */
  #keepFromL2(from: Place | undefined, step: unknown, reason: string): void {
    this.#uncarried ??= `${pathTo(from, step)} ${reason}`
  }
}

function pathTo(from: Place | undefined, step: unknown): string {
  const steps = from ? [step] : []
  for (let place = from; place?.from; place = place.from) steps.push(place.step)
  return steps.length > longestPath
    ? `value${steps.slice(-longestPath).reverse().map(written).join('')}…`
    : `value${steps.reverse().map(written).join('')}`
}

/** Elements of an array up to which it is asked for properties beside them that are not enumerable. */
export const mostNames = 1_000

/** The step to a key of a map. */
const asKey = {}

/** Steps of a path that are told. */
const longestPath = 20

function written(step: unknown): string {
  if (typeof step === 'number') return `[${step}]`
  if (typeof step === 'string') {
    if (isIndex(step)) return `[${step}]`
    return /^[\w$]+$/.test(step) ? `.${step}` : `[${JSON.stringify(step.slice(0, 80))}]`
  }
  if (step === asKey) return '<a key>'
  return typeof step === 'object' || typeof step === 'function' ? '<a part>' : `<${String(step)}>`
}

function isIndex(name: string): boolean {
  return /^(?:0|[1-9]\d{0,9})$/.test(name)
}

export type BuiltIn = 'date' | 'map' | 'set' | 'regexp' | 'buffer' | 'view'

/**
 * By what it is rather than by `instanceof`, which knows nothing of objects from another context of V8.
 *
 * @returns undefined for an ordinary object; `foreign` for one with a state that only the platform sees
 */
export function builtInOf(object: object): BuiltIn | 'foreign' | undefined {
  if (types.isDate(object)) return 'date'
  if (types.isMap(object)) return 'map'
  if (types.isSet(object)) return 'set'
  if (types.isRegExp(object)) return 'regexp'
  if (types.isArrayBufferView(object)) return 'view'
  if (types.isArrayBuffer(object)) return 'buffer'
  return isForeign.some((is) => is(object)) ? 'foreign' : undefined
}

const isForeign: readonly ((object: unknown) => boolean)[] = [
  types.isNativeError,
  types.isPromise,
  types.isSharedArrayBuffer,
  types.isWeakMap,
  types.isWeakSet,
  types.isBoxedPrimitive,
  types.isGeneratorObject,
  types.isMapIterator,
  types.isSetIterator,
  types.isModuleNamespaceObject,
  types.isExternal,
]

function described(object: object, { name }: Prototype): string {
  if (types.isNativeError(object)) return 'an error'
  return name === '' ? 'an object of the platform' : `an instance of ${name}`
}

/** What all objects with the same prototype have in common. */
export interface Prototype {
  /** `none`: there is no prototype. `built-in`: that of a built-in object that is data. `other`: that of a class, mostly. */
  readonly kind: 'object' | 'array' | 'built-in' | 'none' | 'other'
  readonly name: string
  /** Why instances may have a state that cannot be seen. */
  readonly trouble: string | undefined
}

const known = new WeakMap<object, Prototype>()
const ordinary: Prototype = { kind: 'object', name: 'Object', trouble: undefined }
const noPrototype: Prototype = { kind: 'none', name: '', trouble: undefined }

export function prototypeOf(prototype: object | null): Prototype {
  // The usual one, without a look into the map.
  if (prototype === Object.prototype) return ordinary
  if (prototype === null) return noPrototype
  let found = known.get(prototype)
  if (!found) {
    found = judged(prototype)
    known.set(prototype, found)
  }
  return found
}

const dataOfThePlatform = new Set(['Date', 'Map', 'Set', 'RegExp', 'ArrayBuffer', 'DataView', 'Buffer'])

function judged(prototype: object): Prototype {
  if (types.isProxy(prototype)) return { kind: 'other', name: 'a proxy', trouble: 'which may hide anything' }
  const maker = classOf(prototype)
  const name = maker?.name ?? ''
  if (maker && (isNative(maker) || prototype === Buffer.prototype)) {
    if (name === 'Object') return { kind: 'object', name, trouble: undefined }
    if (name === 'Array') return { kind: 'array', name, trouble: undefined }
    if (isViewOrBuiltIn(prototype, name)) return { kind: 'built-in', name, trouble: undefined }
    return { kind: 'other', name, trouble: 'which the platform makes' }
  }
  const trouble = maker ? privateIn(maker) : ofThePlatform(prototype)
  const above = prototypeOf(Object.getPrototypeOf(prototype))
  return {
    kind: 'other',
    name: name === '' ? 'a class without a name' : name,
    trouble: trouble ?? hiddenIn(prototype) ?? above.trouble,
  }
}

/** The typed arrays have a class above them that nobody can name. */
function isViewOrBuiltIn(prototype: object, name: string): boolean {
  const above = Object.getPrototypeOf(prototype) as object | null
  return dataOfThePlatform.has(name) || (above !== null && classOf(above)?.name === 'TypedArray')
}

/** Iterators, for instance, have no class that could be named, but methods of the platform's. */
function ofThePlatform(prototype: object): string | undefined {
  const isNativeMethod = (name: string | symbol): boolean => {
    const { value } = Reflect.getOwnPropertyDescriptor(prototype, name) as PropertyDescriptor
    return typeof value === 'function' && isNative(value)
  }
  return Reflect.ownKeys(prototype).some(isNativeMethod) ? 'which the platform makes' : undefined
}

/** What belongs to a class beside its instances must be shared by them: methods, getters, and constants. */
function hiddenIn(prototype: object): string | undefined {
  for (const name of Reflect.ownKeys(prototype)) {
    const { value, get, set } = Reflect.getOwnPropertyDescriptor(prototype, name) as PropertyDescriptor
    if (typeof value === 'object' && value !== null) return 'whose prototype has a state of its own'
    for (const method of [value, get, set]) {
      const hidden = typeof method === 'function' ? privateIn(method) : undefined
      if (hidden) return hidden
    }
  }
  return undefined
}

/**
 * Private members are seen by nobody but their class: no copy could have them. Where a compiler has written them for older
 * engines, they are in maps that its helpers look into.
 */
const privateMember =
  /(?:^|[{};)/*\n\r]|\b(?:static|get|set|async|accessor)|@[\w.$]+)\s*#[\p{ID_Start}$_\\]|_classPrivate/u

function privateIn(code: object): string | undefined {
  const text = textOf(code)
  const isSuspect = text.includes('#') || text.includes('_classPrivate')
  return isSuspect && privateMember.test(text) ? 'which has private members' : undefined
}

function classOf(prototype: object): { readonly name: string } | undefined {
  const { value } = Reflect.getOwnPropertyDescriptor(prototype, 'constructor') ?? {}
  if (typeof value !== 'function' || types.isProxy(value)) return undefined
  const own = Reflect.getOwnPropertyDescriptor(value, 'prototype')
  return own?.value === prototype ? value : undefined
}

function isClassOf(value: unknown, object: object): boolean {
  if (typeof value !== 'function' || types.isProxy(value)) return false
  return Reflect.getOwnPropertyDescriptor(value, 'prototype')?.value === Object.getPrototypeOf(object)
}

function isNative(code: object): boolean {
  const text = textOf(code)
  return text.length < 200 && /\{\s*\[native code\]\s*\}$/.test(text)
}

function textOf(code: object): string {
  return Function.prototype.toString.call(code)
}
