import { constants, fstatSync, openSync, write } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { isatty } from 'node:tty'

/** Characters that may wait to be written; lines beyond that are dropped. */
const waitingLimit = 4_194_304
/** Characters of one write, at most a line more. */
const chunkLength = 65_536
/** Milliseconds until a write that failed is tried again; a terminal that is merely busy is asked sooner. */
const retryMs = 200
const busyMs = 10

/** Writes some bytes and says how many it took. Calls back always, or never where nobody reads. */
export type WriteBytes = (
  bytes: Buffer,
  done: (error: NodeJS.ErrnoException | null | undefined, written: number) => void,
) => void

/**
 * Where log lines go, in order. Logging neither holds up the service nor keeps it from ending: nothing here blocks
 * or throws. Lines that cannot be written wait; beyond a limit they are dropped, counted, and the count is reported
 * once lines can be written again.
 */
export class LogDestination {
  #waiting: string[] = []
  #waitingLength = 0
  #dropped = 0
  #isWriting = false
  readonly #flushed = new Set<() => void>()
  /** Told how many lines were dropped, when the next can be written. */
  onRecovery: (dropped: number) => void = () => {}

  constructor(private readonly writeBytes: WriteBytes) {}

  /** Pino calls this with each line. */
  write(line: string): void {
    if (this.#waitingLength + line.length > waitingLimit) {
      this.#dropped++
      return
    }
    this.#waiting.push(line)
    this.#waitingLength += line.length
    if (!this.#isWriting) this.#writeNext()
  }

  /** Resolves once every line is written, or after `limitMs`. Never rejects. */
  async flush(limitMs: number): Promise<void> {
    if (!this.#isWriting) return
    await Promise.race([new Promise<void>((resolve) => this.#flushed.add(resolve)), sleep(limitMs)])
  }

  #writeNext(): void {
    if (this.#waiting.length === 0) {
      this.#isWriting = false
      for (const resolve of this.#flushed) resolve()
      this.#flushed.clear()
      return
    }
    this.#isWriting = true
    this.#write(Buffer.from(this.#takeChunk()))
  }

  #takeChunk(): string {
    let length = 0
    let count = 0
    while (count < this.#waiting.length && length < chunkLength) length += this.#waiting[count++]!.length
    const chunk = this.#waiting.splice(0, count).join('')
    this.#waitingLength -= chunk.length
    return chunk
  }

  #write(bytes: Buffer): void {
    this.writeBytes(bytes, (error, written) => {
      if (error) {
        // The same bytes again: a line that is half written is completed, not repeated.
        setTimeout(() => this.#write(bytes), error.code === 'EAGAIN' ? busyMs : retryMs).unref()
        return
      }
      if (written < bytes.length) return this.#write(bytes.subarray(written))
      this.#reportDropped()
      this.#writeNext()
    })
  }

  /** Not before there is room again: a destination that is merely too slow would be told about with every write. */
  #reportDropped(): void {
    const dropped = this.#dropped
    if (dropped === 0 || this.#waitingLength > waitingLimit / 2) return
    this.#dropped = 0
    this.onRecovery(dropped)
  }
}

/** Writes to standard output without ever blocking on it, whatever it is connected to. */
export function standardOutput(): WriteBytes {
  const stat = fstatSync(1)
  if (stat.isFIFO() || stat.isSocket()) return pipeWriter(process.stdout)
  const fd = isatty(1) ? withoutBlocking(1) : 1
  return (bytes, done) => write(fd, bytes, done)
}

/** Node writes to pipes and sockets without blocking. A write in the thread pool could block, and so could `exit`. */
function pipeWriter(stream: NodeJS.WriteStream): WriteBytes {
  // Without a listener, the error that each write is told about would end the process as well.
  stream.on('error', () => {})
  return (bytes, done) => {
    stream.write(bytes, (error) => {
      // Whoever read the pipe has gone and will not come back: as if it were written, so that nothing piles up.
      done(stream.writable ? error : null, bytes.length)
    })
  }
}

/**
 * A descriptor of the same terminal on which a write fails while the terminal is stopped. Not possible everywhere;
 * where it is not, a stopped terminal keeps the process from ending until it goes on.
 */
function withoutBlocking(fd: number): number {
  try {
    return openSync(`/proc/self/fd/${fd}`, constants.O_WRONLY | constants.O_NONBLOCK | constants.O_NOCTTY)
  } catch {
    return fd
  }
}
