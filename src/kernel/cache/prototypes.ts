import { types } from 'node:util'

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
