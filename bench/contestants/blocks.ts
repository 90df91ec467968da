import { setImmediate as turn } from 'node:timers/promises'

/**
 * Milliseconds since the call, of which no more count than this process has computed meanwhile: whoever waits for a
 * core that others have taken is not held up by the work of this process.
 */
export function stopwatch(): () => number {
  const startedAt = performance.now()
  const usedAt = process.cpuUsage()
  return () => {
    const { user, system } = process.cpuUsage(usedAt)
    return Math.min(performance.now() - startedAt, (user + system) / 1_000)
  }
}

/** Watches for how long the event loop is held up. */
export class Blocks {
  #longestMs = 0
  #watching = true
  readonly #done = this.#watch()

  async longestMs(): Promise<number> {
    this.#watching = false
    await this.#done
    return this.#longestMs
  }

  async #watch(): Promise<void> {
    while (this.#watching) {
      const elapsedMs = stopwatch()
      await turn()
      this.#longestMs = Math.max(this.#longestMs, elapsedMs())
    }
  }
}
