import { constants, fstatSync, openSync, write } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { isatty } from 'node:tty'

/** The most characters that wait to be written; lines beyond that are dropped. */
const waitingLimit = 4_194_304
/** Lines are joined until a write has this many characters, so it may be longer by up to a line. */
const chunkLength = 65_536
/** Milliseconds until a failed write is tried again; less if it failed because the terminal was busy. */
const retryMs = 200
const busyMs = 10

/** Writes bytes and calls back with the number that it has written. While nobody reads, it may not call back. */
export type WriteBytes = (
  bytes: Buffer,
  done: (error: NodeJS.ErrnoException | null | undefined, written: number) => void,
) => void

/**
 * Writes log lines in order. It never blocks and never throws, so logging neither delays the service nor keeps it from
 * ending. Lines that cannot be written wait. Beyond a limit lines are dropped, and their number is reported once lines can
 * be written again.
 */
export class LogDestination {
  #waiting: string[] = []
  #waitingLength = 0
  #dropped = 0
  #isWriting = false
  readonly #flushed = new Set<() => void>()
  /** Called with the number of dropped lines once lines can be written again. */
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

  /** Resolves once every line is written, or after `limitMs`. It never rejects. */
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
        // Only the bytes that are left are tried again, so that a half-written line is completed and not repeated.
        setTimeout(() => this.#write(bytes), error.code === 'EAGAIN' ? busyMs : retryMs).unref()
        return
      }
      if (written < bytes.length) return this.#write(bytes.subarray(written))
      this.#reportDropped()
      this.#writeNext()
    })
  }

  /** Waits until half of the room is free. Otherwise a slow destination would get a report with every write. */
  #reportDropped(): void {
    const dropped = this.#dropped
    if (dropped === 0 || this.#waitingLength > waitingLimit / 2) return
    this.#dropped = 0
    this.onRecovery(dropped)
  }
}

/** Writes to standard output and never blocks, whatever it is connected to. */
export function standardOutput(): WriteBytes {
  const stat = fstatSync(1)
  if (stat.isFIFO() || stat.isSocket()) return pipeWriter(process.stdout)
  const fd = isatty(1) ? withoutBlocking(1) : 1
  return (bytes, done) => write(fd, bytes, done)
}

/**
 * Uses Node's stream, which writes to pipes and sockets without blocking. `fs.write` could block a thread of the pool, and
 * then `exit` would block as well.
 */
function pipeWriter(stream: NodeJS.WriteStream): WriteBytes {
  // Each write gets its error by its callback. Without a listener the error would end the process in addition.
  stream.on('error', () => {})
  return (bytes, done) => {
    stream.write(bytes, (error) => {
      // The reader of the pipe is gone for good. The bytes count as written, so that nothing piles up.
      done(stream.writable ? error : null, bytes.length)
    })
  }
}

/**
 * Opens the terminal again without blocking, so that a write fails while the terminal is stopped. Where the system does not
 * allow that, a stopped terminal keeps the process from ending until it is resumed.
 */
function withoutBlocking(fd: number): number {
  try {
    return openSync(`/proc/self/fd/${fd}`, constants.O_WRONLY | constants.O_NONBLOCK | constants.O_NOCTTY)
  } catch {
    return fd
  }
}
