interface PendingRead {
  readonly name: string
  resolve(bytes: Buffer | null | undefined): void
}

/** Keys that one command asks for: Redis does nothing else meanwhile. */
const largestBatch = 256

/**
 * Reads that come within one turn of the event loop go out as one command. Pipelined one by one, each would be a
 * command object, a promise of the client's, and a reply to match.
 */
export class PendingReads {
  #pending: PendingRead[] = []

  /**
   * @param ask resolves with the bytes in the order of the names, null for what there is not, or with undefined if there is
   *   no answer; never rejects
   */
  constructor(
    private readonly ask: (
      names: readonly string[],
    ) => Promise<readonly (Buffer | null | undefined)[] | undefined>,
  ) {}

  /** @returns null if there is nothing under that name, undefined if there is no answer */
  read(name: string): Promise<Buffer | null | undefined> {
    return new Promise((resolve) => {
      const count = this.#pending.push({ name, resolve })
      if (count === 1) setImmediate(() => this.#send())
      else if (count === largestBatch) this.#send()
    })
  }

  #send(): void {
    const batch = this.#pending
    // Sent already, as it was full.
    if (batch.length === 0) return
    this.#pending = []
    void this.ask(batch.map(({ name }) => name)).then((found) => {
      for (let index = 0; index < batch.length; index++) batch[index]?.resolve(found?.[index])
    })
  }
}
