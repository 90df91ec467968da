import type { Clock } from '../clock.js'

/** Milliseconds of the shortest slice, and without any hint after which the next one begins another. */
const shortestSliceMs = 1

/** UTF-16 units that may wait. Redis itself gives up a subscriber for whom 32 MB do. */
const mostUnits = 16 * 1_048_576

/**
 * Reads hints in their order: one that comes alone at once, and a burst in slices, between which the event loop turns. One
 * read of the socket can bring a thousand, and requests must not wait until all of them are applied.
 *
 * A slice lasts as long as all else has taken since the one before, and at least 1 ms: however busy the node is, half of its
 * time is for hints, so that it does not fall behind those who write.
 */
export class HintQueue {
  #waiting: string[] = []
  #units = 0
  /** Monotonic ms: when the present slice is over, and when the last hint had been read. */
  #until = 0
  #endedAt = Number.NEGATIVE_INFINITY
  #pause: NodeJS.Immediate | undefined
  #stopped = false

  /**
   * @param read must not throw
   * @param lost called when what was waiting has become too much, and was dropped
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
    // All at once: to shift a long array moves all the rest each time.
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
