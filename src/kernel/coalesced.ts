/**
 * Runs one call at a time, with at most one waiting: everybody who asks while a call is running shares the
 * next one. A caller therefore always gets a call that *began after* it asked, which is what makes the
 * answer cover everything that the caller had seen committed; joining the running one would not.
 */
export class Coalesced<Result> {
  #running: Promise<unknown> | undefined
  #waiting: Promise<Result> | undefined

  /** @param pause waited for before a call that follows another: who asks meanwhile has its answer, too */
  constructor(
    private readonly call: () => Promise<Result>,
    private readonly pause: () => Promise<void> = async () => {},
  ) {}

  get isIdle(): boolean {
    return this.#running === undefined && this.#waiting === undefined
  }

  run(): Promise<Result> {
    if (this.#waiting) return this.#waiting
    if (!this.#running) return this.#start()
    const waiting = this.#running.then(
      () => this.#promote(),
      () => this.#promote(),
    )
    this.#waiting = waiting
    return waiting
  }

  /** Resolves once nothing runs and nothing waits; never rejects. */
  async idle(): Promise<void> {
    while (this.#running || this.#waiting) {
      await Promise.allSettled([this.#running, this.#waiting])
    }
  }

  async #promote(): Promise<Result> {
    await this.pause()
    this.#waiting = undefined
    return this.#start()
  }

  #start(): Promise<Result> {
    const running = this.call()
    const settled: Promise<unknown> = running
      .catch(() => undefined)
      .finally(() => {
        if (this.#running === settled) this.#running = undefined
      })
    this.#running = settled
    return running
  }
}
