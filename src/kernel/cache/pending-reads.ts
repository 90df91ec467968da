interface PendingRead<Found> {
  readonly name: string
  resolve(found: Found | undefined | Promise<Found | undefined>): void
}

/**
 * Keys that one command asks for. Redis does nothing else meanwhile; and while it answers one batch, this node works on
 * what the batch before it has brought.
 */
const largestBatch = 16

/**
 * Reads that come within one turn of the event loop go out as one command. Pipelined one by one, each would be a
 * command object, a promise of the client's, and a reply to match.
 */
export class PendingReads<Found> {
  #pending: PendingRead<Found>[] = []

  /**
   * @param ask resolves with the bytes in the order of the names, null for what there is not, or with undefined if there is
   *   no answer; never rejects
   * @param decode never throws or rejects
   */
  constructor(
    private readonly ask: (names: readonly string[]) => Promise<readonly (Buffer | null)[] | undefined>,
    private readonly decode: (
      name: string,
      bytes: Buffer | null,
    ) => Found | undefined | Promise<Found | undefined>,
  ) {}

  /** @returns undefined if there is nothing under that name, or no answer */
  read(name: string): Promise<Found | undefined> {
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
      for (let index = 0; index < batch.length; index++) {
        const { name, resolve } = batch[index] as PendingRead<Found>
        resolve(found && this.decode(name, found[index] ?? null))
      }
    })
  }
}
