/** Reads that go out as one command. */
interface Batch {
  readonly names: string[]
  /** Resolves with what Redis has under the names, in their order; with undefined if there is no answer. */
  readonly answered: Promise<readonly Buffer[] | undefined>
  readonly send: () => void
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
  #open: Batch | undefined

  /**
   * @param ask resolves with the bytes in the order of the names, an empty buffer where there is nothing, or with undefined if
   *   there is no answer; never rejects
   * @param decode never throws or rejects
   */
  constructor(
    private readonly ask: (names: readonly string[]) => Promise<readonly Buffer[] | undefined>,
    private readonly decode: (name: string, bytes: Buffer) => Found | undefined | Promise<Found | undefined>,
  ) {}

  /** @returns undefined if there is nothing under that name, or no answer */
  read(name: string): Promise<Found | undefined> {
    this.#open ??= this.#begin()
    const batch = this.#open
    const index = batch.names.push(name) - 1
    if (index === largestBatch - 1) batch.send()
    return batch.answered.then((found) => found && this.decode(name, found[index] as Buffer))
  }

  #begin(): Batch {
    const names: string[] = []
    let send = () => {}
    const answered: Batch['answered'] = new Promise((resolve) => {
      send = () => {
        this.#open = undefined
        resolve(this.ask(names))
      }
    })
    const batch = { names, answered, send }
    // Unless it is full before that, and gone.
    setImmediate(() => this.#open === batch && send())
    return batch
  }
}
