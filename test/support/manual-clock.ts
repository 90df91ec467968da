import type { Clock } from '../../src/kernel/clock.js'
import { within } from './within.js'

/** Time that stands still until a test moves it. */
export class ManualClock implements Clock {
  #now = 1_000
  #wallOffset = 1_700_000_000_000
  #turns = 0
  #sleepers: { until: number; wake: () => void }[] = []

  now(): number {
    return this.#now
  }

  wall(): number {
    return this.#now + this.#wallOffset
  }

  /** A test may move the time between any two calls. */
  turn(): number {
    return ++this.#turns
  }

  async nextTurn(): Promise<void> {}

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return new Promise((wake) => {
      if (signal?.aborted) return wake()
      this.#sleepers.push({ until: this.#now + ms, wake })
      signal?.addEventListener('abort', () => wake())
    })
  }

  within(ms: number, work: Promise<unknown>): Promise<boolean> {
    return within(this, ms, work)
  }

  advance(ms: number): void {
    this.#now += ms
    const due = this.#sleepers.filter((sleeper) => sleeper.until <= this.#now)
    this.#sleepers = this.#sleepers.filter((sleeper) => sleeper.until > this.#now)
    for (const { wake } of due) wake()
  }

  /** As when the clock is set, or the machine was suspended and its monotonic clock stood still. */
  jumpWall(ms: number): void {
    this.#wallOffset += ms
  }
}
