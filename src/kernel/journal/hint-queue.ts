import type { Clock } from '../clock.js'

/** Milliseconds of a slice. */
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
    if (!this.#pause) this.#readSlice(shortestSliceMs)
  }

  stop(): void {
    this.#stopped = true
    clearImmediate(this.#pause)
    this.#drop()
  }

  #readSlice(ms: number): void {
    const until = this.clock.now() + ms
    let count = 0
    let now: number
    do {
      const text = this.#waiting[count++] as string
      this.#units -= text.length
      this.read(text)
      now = this.clock.now()
      if (this.#stopped) return
    } while (count < this.#waiting.length && now < until)
    // All at once: to shift a long array moves all the rest each time.
    this.#waiting = this.#waiting.slice(count)
    // Also where nothing waits: the rest of a burst is handed over right after its first.
    this.#pause = setImmediate(() => {
      this.#pause = undefined
      if (this.#waiting.length > 0) this.#readSlice(Math.max(shortestSliceMs, this.clock.now() - now))
    })
  }

  #drop(): void {
    this.#waiting = []
    this.#units = 0
  }
}
