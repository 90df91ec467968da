import type { Clock } from '../clock.js'

/** Milliseconds of work after which the event loop gets a turn. */
const sliceMs = 1

/** UTF-16 units that may wait. Redis itself gives up a subscriber for whom 32 MB do. */
const mostUnits = 16 * 1_048_576

/**
 * Reads hints in their order, one that comes alone at once, and a burst in slices: one read of the socket can bring a
 * thousand, and requests must not wait until all of them are applied.
 */
export class HintQueue {
  #waiting: string[] = []
  #units = 0
  #pause: NodeJS.Immediate | undefined

  /** @param read must not throw */
  constructor(
    private readonly read: (text: string) => void,
    private readonly clock: Pick<Clock, 'now'>,
  ) {}

  push(text: string): void {
    // What comes behind a lost hint is of no use before a check, and the newest of them is enough to ask for one.
    if (this.#units + text.length > mostUnits) this.#drop()
    this.#units += text.length
    this.#waiting.push(text)
    if (!this.#pause) this.#readSlice()
  }

  stop(): void {
    clearImmediate(this.#pause)
    this.#pause = undefined
    this.#drop()
  }

  #readSlice(): void {
    if (this.#waiting.length === 0) return
    const until = this.clock.now() + sliceMs
    do {
      const text = this.#waiting.shift() as string
      this.#units -= text.length
      this.read(text)
    } while (this.#waiting.length > 0 && this.clock.now() < until)
    // Also where nothing waits: the rest of a burst is handed over right after its first.
    this.#pause = setImmediate(() => {
      this.#pause = undefined
      this.#readSlice()
    })
  }

  #drop(): void {
    this.#waiting = []
    this.#units = 0
  }
}
