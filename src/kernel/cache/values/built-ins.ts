import { types } from 'node:util'

export type BuiltIn = 'date' | 'map' | 'set' | 'regexp' | 'buffer' | 'view'

/**
 * Asks V8 for the kind of an object. `instanceof` would not recognise objects from another V8 context.
 *
 * @returns undefined for an ordinary object; `foreign` for one that has internal state which JavaScript cannot read
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
