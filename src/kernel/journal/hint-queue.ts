import type { Clock } from '../clock.js'

/** The length of the shortest slice in ms. After as many ms without a hint, the next hint starts a new slice. */
const shortestSliceMs = 1

/** The most UTF-16 units that may wait. Redis itself disconnects a subscriber for whom 32 MB wait. */
const mostUnits = 16 * 1_048_576

/**
 * Reads hints in their order. A single hint is read at once, a burst in slices, between which the event loop turns. One read
 * of the socket can bring a thousand hints, and requests must not wait until all of them are applied.
 *
 * A slice lasts as long as everything else has taken since the slice before, but at least 1 ms. So even a busy node spends
 * half of its time on hints and does not fall behind the nodes that write.
 */
export class HintQueue {
  #waiting: string[] = []
  #units = 0
  /** The end of the present slice, and the moment after the last hint was read, in monotonic ms. */
  #until = 0
  #endedAt = Number.NEGATIVE_INFINITY
  #pause: NodeJS.Immediate | undefined
  #stopped = false

  /**
   * @param read must not throw
   * @param lost called when too many hints were waiting and were dropped
   */
  constructor(
    private readonly read: (text: string) => void,
    private readonly lost: () => void,
    private readonly clock: Pick<Clock, 'now'>,
  ) {}

  push(text: string): void {
    if (this.#stopped) return
    if (this.#units + text.length > mostUnits) {
      this.#drop()
      this.lost()
    }
    this.#units += text.length
    this.#waiting.push(text)
    if (this.#pause) return
    const now = this.clock.now()
    if (now - this.#endedAt >= shortestSliceMs) this.#until = now + shortestSliceMs
    if (now < this.#until) this.#readSlice()
    else this.#pauseBeforeNext()
  }

  stop(): void {
    this.#stopped = true
    clearImmediate(this.#pause)
    this.#drop()
  }

  #readSlice(): void {
    let count = 0
    do {
      const text = this.#waiting[count++] as string
      this.#units -= text.length
      this.read(text)
      this.#endedAt = this.clock.now()
      if (this.#stopped) return
    } while (count < this.#waiting.length && this.#endedAt < this.#until)
    // Removed in one step, because each `shift` of a long array moves all the rest.
    this.#waiting = this.#waiting.slice(count)
    if (this.#waiting.length > 0) this.#pauseBeforeNext()
  }

  #pauseBeforeNext(): void {
    this.#pause = setImmediate(() => {
      this.#pause = undefined
      const now = this.clock.now()
      this.#until = now + Math.max(shortestSliceMs, now - this.#endedAt)
      this.#readSlice()
    })
  }

  #drop(): void {
    this.#waiting = []
    this.#units = 0
  }
}
