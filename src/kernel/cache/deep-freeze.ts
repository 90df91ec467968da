/** Freezes plain objects and arrays all the way down. What is frozen already is taken to be so throughout. */
export function deepFreeze<Value>(value: Value): Value {
  if (typeof value !== 'object' || value === null || Object.isFrozen(value) || ArrayBuffer.isView(value))
    return value
  // Frozen before its parts, so that a cycle ends here.
  Object.freeze(value)
  for (const inner of Object.values(value)) deepFreeze(inner)
  return value
}
