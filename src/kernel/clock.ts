import { setTimeout as delay } from 'node:timers/promises'

/** Time as the kernel sees it. One seam, so that a deterministic scheduler can take its place in tests. */
export interface Clock {
  /** Monotonic, in milliseconds. The only clock that decides freshness. */
  now(): number
  /** Wall clock, in milliseconds since 1970. Compared with `now` to notice a suspended machine. */
  wall(): number
  /**
   * The same number as long as no request can have arrived in between: within one turn of the event loop, its microtasks
   * included, and for no more than 100 calls, so that a program that never lets the loop turn is noticed.
   */
  turn(): number
  /** Resolves once the event loop has handed over all that has come in so far. */
  nextTurn(): Promise<void>
  /** Resolves after `ms` milliseconds, or at once when the signal aborts; never rejects. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>
  /** Resolves once `work` has ended, however it ends, or after `ms` milliseconds: whether it has. */
  within(ms: number, work: Promise<unknown>): Promise<boolean>
}

const callsATurn = 100

class SystemClock implements Clock {
  #turn = 0
  #callsLeft = 0
  #endIsNoticed = false
  readonly #end = (): void => {
    this.#callsLeft = 0
    this.#endIsNoticed = false
  }

  now(): number {
    return performance.now()
  }

  wall(): number {
    return Date.now()
  }

  turn(): number {
    if (this.#callsLeft-- > 0) return this.#turn
    this.#callsLeft = callsATurn
    // Runs when no microtask is left, before the event loop hands over anything that has come in.
    if (!this.#endIsNoticed) process.nextTick(this.#end)
    this.#endIsNoticed = true
    return ++this.#turn
  }

  nextTurn(): Promise<void> {
    return new Promise((resolve) => {
      setImmediate(resolve)
    })
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    if (!signal) return delay(ms)
    if (signal.aborted) return Promise.resolve()
    // Given the signal, Node's own makes an error with a stack when it aborts: 4 % of a command's time in this process.
    return new Promise((resolve) => {
      const end = (): void => {
        clearTimeout(timer)
        signal.removeEventListener('abort', end)
        resolve()
      }
      const timer = setTimeout(end, ms)
      signal.addEventListener('abort', end)
    })
  }

  within(ms: number, work: Promise<unknown>): Promise<boolean> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms, false)
      const end = (): void => {
        clearTimeout(timer)
        resolve(true)
      }
      work.then(end, end)
    })
  }
}

export const systemClock: Clock = new SystemClock()
