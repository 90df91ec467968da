import type { Clock } from '../../src/kernel/clock.js'
import { within } from '../support/within.js'
import type { Scheduler } from './scheduler.js'

/** The one time that everybody's clock is made of. It stands still unless a step moves it. */
export class SimulatedTime {
  now = 10_000
}

const wallOffsetMs = 1_700_000_000_000

/** The clocks of one machine. While it is suspended, its monotonic clock stands still and its wall clock does not. */
export class MachineClock implements Clock {
  #suspendedMs = 0
  #timers = 0

  constructor(
    private readonly time: SimulatedTime,
    private readonly scheduler: Scheduler,
    private readonly node: string,
  ) {}

  now(): number {
    return this.time.now - this.#suspendedMs
  }

  wall(): number {
    return this.time.now + wallOffsetMs
  }

  suspend(ms: number): void {
    this.#suspendedMs += ms
    this.time.now += ms
  }

  /** Between two turns a step is performed, or time passes. Neither number ever falls, so their sum is another one then. */
  turn(): number {
    return this.scheduler.performed + this.time.now
  }

  /** Between two steps nothing comes in. */
  async nextTurn(): Promise<void> {}

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    if (signal?.aborted) return Promise.resolve()
    const until = this.now() + ms
    const id = `${this.node} timer ${++this.#timers} (${Math.round(ms)} ms)`
    return new Promise((resolve) => {
      const giveUp = (): void => {
        this.scheduler.drop((step) => step === timer)
        resolve()
      }
      const timer = {
        id,
        node: this.node,
        owner: this.node,
        optional: true,
        writes: [this.node],
        until,
        ready: () => this.now() >= until,
        perform: () => {
          signal?.removeEventListener('abort', giveUp)
          resolve()
          return undefined
        },
      }
      this.scheduler.add(timer)
      signal?.addEventListener('abort', giveUp)
    })
  }

  within(ms: number, work: Promise<unknown>): Promise<boolean> {
    return within(this, ms, work)
  }

  /** Milliseconds until a parked step's time has come; undefined if it is no timer. */
  static msUntil(step: object, clock: Clock): number | undefined {
    return 'until' in step ? Math.max(0, (step as { until: number }).until - clock.now()) : undefined
  }
}
