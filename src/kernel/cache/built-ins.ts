import { types } from 'node:util'

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
