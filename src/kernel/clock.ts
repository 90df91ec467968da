import { setTimeout as delay } from 'node:timers/promises'

/** All that the kernel knows about time, so that tests can replace it with a deterministic scheduler. */
export interface Clock {
  /** Monotonic, in milliseconds. The only clock that decides freshness. */
  now(): number
  /** Wall clock, in milliseconds since 1970. Compared with `now` to notice a suspended machine. */
  wall(): number
  /**
   * A number that stays the same within one turn of the event loop, including its microtasks: no request can arrive in
   * between. It changes after 100 calls in any case, because a program may never let the event loop turn.
   */
  turn(): number
  /** Resolves in the next turn of the event loop, once it has delivered what had arrived. */
  nextTurn(): Promise<void>
  /** Resolves after `ms` milliseconds, or at once when the signal aborts; never rejects. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>
  /** Resolves to true once `work` has resolved or rejected, or to false after `ms` milliseconds. */
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
    // It runs when no microtask is left, before the event loop delivers anything that has arrived.
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
    // If Node's own timer got the signal, it would make an error with a stack at each abort: 4 % of the processor time of a
    // command in this process.
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
