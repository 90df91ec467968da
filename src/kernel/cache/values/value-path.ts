/** An object inside a value, and the step that leads to it from the object around it. */
export interface Place {
  readonly object: object
  readonly from: Place | undefined
  readonly step: unknown
}

/** The step to a key of a map. */
export const asKey = {}

/** Most steps that a written path has. */
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

/** The path to a part of a value, written like code: `value.links[3].url`. A long path is cut off. */
export function pathTo(from: Place | undefined, step: unknown): string {
  const steps = from ? [step] : []
  for (let place = from; place?.from; place = place.from) steps.push(place.step)
  return steps.length > longestPath
    ? `value${steps.slice(-longestPath).reverse().map(written).join('')}…`
    : `value${steps.reverse().map(written).join('')}`
}

export function isIndex(name: string): boolean {
  return /^(?:0|[1-9]\d{0,9})$/.test(name)
}
