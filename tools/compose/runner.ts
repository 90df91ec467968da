import { setTimeout as delay } from 'node:timers/promises'

/** Milliseconds between two checks of a condition. */
const pollMs = 20

/** Runs tests one after another, because they share a stack, and counts the results. */
export class Runner {
  #passed = 0
  #failed = 0

  readonly #interrupted: Promise<never>

  constructor(private readonly signal: AbortSignal) {
    this.#interrupted = new Promise((_, reject) => {
      signal.addEventListener('abort', () => reject(signal.reason), { once: true })
    })
    // No test may be waiting for it when it rejects.
    this.#interrupted.catch(() => {})
  }

  get failed(): boolean {
    return this.#failed > 0
  }

  /** @returns whether it passed */
  async test(title: string, run: () => Promise<void>): Promise<boolean> {
    if (this.signal.aborted) return false
    const startedAt = performance.now()
    const number = this.#passed + this.#failed + 1
    let failure: unknown
    try {
      await Promise.race([run(), this.#interrupted])
      this.#passed++
    } catch (error) {
      failure = error
      this.#failed++
    }
    const took = ((performance.now() - startedAt) / 1_000).toFixed(1)
    console.log(`${failure ? 'not ok' : 'ok'} ${number} - ${title} (${took} s)`)
    if (failure) note(failure instanceof Error ? failure.message : String(failure))
    return !failure
  }

  /** Prints the result. @returns whether tests have run, and all of them passed */
  finish(): boolean {
    console.log(`${this.#passed} passed, ${this.#failed} failed`)
    return !this.failed && this.#passed > 0
  }
}

/** Prints a measurement, or the details of a failure. */
export function note(text: string): void {
  console.log(text.replace(/^/gm, '    # '))
}

/**
 * Waits for a condition. If it throws, it does not hold yet.
 *
 * @returns after how many ms it held
 * @throws if it does not hold in time
 */
export async function until(
  what: string,
  withinMs: number,
  condition: () => boolean | Promise<boolean>,
): Promise<number> {
  const startedAt = performance.now()
  let lastError: unknown
  for (;;) {
    try {
      const holds = await condition()
      const elapsed = performance.now() - startedAt
      if (holds && elapsed <= withinMs) return Math.round(elapsed)
      lastError = undefined
    } catch (error) {
      lastError = error
    }
    if (performance.now() - startedAt > withinMs) {
      throw new Error(`not within ${withinMs} ms: ${what}${lastError ? ` (${String(lastError)})` : ''}`)
    }
    await delay(pollMs)
  }
}
