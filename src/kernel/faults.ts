import { systemClock } from './clock.js'

export const faultPoints = [
  'after-commit',
  'after-numbering',
  'before-load',
  'after-load-read',
  'before-store',
  'before-l2-copy',
] as const
export type FaultPoint = (typeof faultPoints)[number]

export interface Fault {
  readonly point: FaultPoint
  readonly action: 'kill' | 'hold'
  /** Milliseconds of a hold. */
  readonly ms: number
}

const defaultHoldMs = 1_000

/**
 * Reads `point:action[:ms]`, separated by commas.
 *
 * @throws TypeError that names the first part that is invalid
 */
export function parseFaults(text: string): Fault[] {
  return text
    .split(',')
    .filter((part) => part.trim() !== '')
    .map((part) => {
      const [point, action, ms = String(defaultHoldMs), ...rest] = part.trim().split(':')
      const known = faultPoints.find((name) => name === point)
      if (!known || (action !== 'kill' && action !== 'hold') || !/^\d{1,6}$/.test(ms) || rest.length > 0) {
        throw new TypeError(
          `${JSON.stringify(part)} is not point:action[:ms]; the point is one of ${faultPoints.join(', ')}, the action kill or hold`,
        )
      }
      return { point: known, action, ms: Number(ms) }
    })
}

/** Faults that tests and the demo inject at named points of the protocol. Without any, a point costs one comparison. */
export class Faults {
  /** Whether any fault is configured. If so, a request may also read one tier alone. */
  readonly active: boolean
  readonly #faults: ReadonlyMap<FaultPoint, Fault>

  constructor(faults: readonly Fault[] = []) {
    this.active = faults.length > 0
    this.#faults = new Map(faults.map((fault) => [fault.point, fault]))
  }

  isSet(point: FaultPoint): boolean {
    return this.#faults.has(point)
  }

  /** Returns undefined where no fault is set, so that the usual path does not await a promise. */
  at(point: FaultPoint): Promise<void> | undefined {
    const fault = this.active ? this.#faults.get(point) : undefined
    if (!fault) return undefined
    if (fault.action === 'hold') return systemClock.sleep(fault.ms)
    process.kill(process.pid, 'SIGKILL')
    // The signal arrives later; until then, nothing after this point may run.
    return new Promise(() => {})
  }
}
