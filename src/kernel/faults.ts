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
 * Reads `point:action[:ms]`, comma separated.
 *
 * @throws TypeError naming the part that it does not understand
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
          `${JSON.stringify(part)} is not point:action[:ms], with a point of ${faultPoints.join(', ')}, and kill or hold`,
        )
      }
      return { point: known, action, ms: Number(ms) }
    })
}

/** Deliberate trouble at named points of the protocol, for tests and the demo. Without any, it costs a comparison. */
export class Faults {
  /** With faults configured, a request may also read one tier alone. */
  readonly active: boolean
  readonly #faults: ReadonlyMap<FaultPoint, Fault>

  constructor(faults: readonly Fault[] = []) {
    this.active = faults.length > 0
    this.#faults = new Map(faults.map((fault) => [fault.point, fault]))
  }

  isSet(point: FaultPoint): boolean {
    return this.#faults.has(point)
  }

  /** Undefined where no fault is set, so that the usual path does not wait for a promise. */
  at(point: FaultPoint): Promise<void> | undefined {
    const fault = this.active ? this.#faults.get(point) : undefined
    if (!fault) return undefined
    if (fault.action === 'hold') return systemClock.sleep(fault.ms)
    process.kill(process.pid, 'SIGKILL')
    // The signal is delivered asynchronously; nothing after this point may run.
    return new Promise(() => {})
  }
}
