import { types } from 'node:util'

/** What is known of all objects that have the same prototype. */
export interface Prototype {
  /** `none`: there is no prototype. `built-in`: of a built-in class whose instances are data. `other`: usually of a class. */
  readonly kind: 'object' | 'array' | 'built-in' | 'none' | 'other'
  readonly name: string
  /** Why instances may have state that cannot be read; undefined if they have none. */
  readonly trouble: string | undefined
}

const known = new WeakMap<object, Prototype>()
const ordinary: Prototype = { kind: 'object', name: 'Object', trouble: undefined }
const noPrototype: Prototype = { kind: 'none', name: '', trouble: undefined }

export function prototypeOf(prototype: object | null): Prototype {
  // The most frequent prototype needs no lookup in the map.
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
  if (types.isProxy(prototype))
    return { kind: 'other', name: 'a proxy', trouble: 'whose state cannot be read' }
  const maker = classOf(prototype)
  const name = maker?.name ?? ''
  if (maker && (isNative(maker) || prototype === Buffer.prototype)) {
    if (name === 'Object') return { kind: 'object', name, trouble: undefined }
    if (name === 'Array') return { kind: 'array', name, trouble: undefined }
    if (isViewOrBuiltIn(prototype, name)) return { kind: 'built-in', name, trouble: undefined }
    return { kind: 'other', name, trouble: 'whose state cannot be read' }
  }
  const trouble = maker ? undefined : ofThePlatform(prototype)
  const above = prototypeOf(Object.getPrototypeOf(prototype))
  return {
    kind: 'other',
    name: name === '' ? 'a class without a name' : name,
    trouble: trouble ?? hiddenIn(prototype) ?? above.trouble,
  }
}

/** Typed arrays are recognised by their common superclass `TypedArray`, which has no global name. */
function isViewOrBuiltIn(prototype: object, name: string): boolean {
  const above = Object.getPrototypeOf(prototype) as object | null
  return dataOfThePlatform.has(name) || (above !== null && classOf(above)?.name === 'TypedArray')
}

/** Recognises built-in objects without a named class, such as iterators, by their native methods. */
function ofThePlatform(prototype: object): string | undefined {
  const isNativeMethod = (name: string | symbol): boolean => {
    const { value } = Reflect.getOwnPropertyDescriptor(prototype, name) as PropertyDescriptor
    return typeof value === 'function' && isNative(value)
  }
  return Reflect.ownKeys(prototype).some(isNativeMethod) ? 'whose state cannot be read' : undefined
}

/**
 * Looks at what instances share through their prototype. It may hold methods, getters and constants, but no objects. The class
 * itself is among them, as `constructor`.
 */
function hiddenIn(prototype: object): string | undefined {
  for (const name of Reflect.ownKeys(prototype)) {
    const { value, get, set } = Reflect.getOwnPropertyDescriptor(prototype, name) as PropertyDescriptor
    if (typeof value === 'object' && value !== null) return 'whose prototype holds an object'
    for (const method of [value, get, set]) {
      const hidden = typeof method === 'function' ? privateIn(method) : undefined
      if (hidden) return hidden
    }
  }
  return undefined
}

/**
 * Finds private members (`#name`) in the source of a class or method. Only the class itself can read them, so no copy could have
 * them. A compiler that targets older engines keeps them in maps, which helpers named `_classPrivate…` access.
 */
const privateMember =
  /(?:^|[{};)/*.\n\r]|\b(?:static|get|set|async|accessor)|@[\w.$]+)\s*#[\p{ID_Start}$_\\]|_classPrivate/u

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

export function isClassOf(value: unknown, object: object): boolean {
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
