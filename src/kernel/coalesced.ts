/**
 * Runs one call at a time. All callers who ask while a call is running share the next call. So every caller gets a call that
 * started *after* it asked, and the result covers every write that the caller had seen committed. The running call may have
 * looked before that.
 */
export class Coalesced<Result> {
  #running: Promise<unknown> | undefined
  #waiting: Promise<Result> | undefined

  /** @param pause is awaited before a call that waited for another one; those who ask during it share that call */
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
