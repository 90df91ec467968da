import { setTimeout as delay } from 'node:timers/promises'
import { type Answer, describe, readUser, writeUser, writtenValue } from './client.js'

/** The promise: no unmarked answer is further behind a committed write, in ms, when its request arrives. */
export const maxStalenessMs = 2_000

/** Milliseconds between two requests of one reader or writer. */
const paceMs = 25

/** Counts one user's name up, one write after another, and knows what every reader must see by when. */
export class Writer {
  readonly confirmed: { readonly value: number; readonly at: number }[] = []
  /** Writes whose answer says that they failed, or may have. */
  readonly unconfirmed: string[] = []
  #value = 0

  constructor(
    readonly userId: string,
    private readonly base: string,
  ) {}

  /** The last value that was written for certain. */
  get last(): number {
    return this.confirmed.at(-1)?.value ?? 0
  }

  async write(): Promise<void> {
    const value = ++this.#value
    try {
      const answer = await writeUser(this.base, this.userId, value)
      if (answer.status === 200) this.confirmed.push({ value, at: performance.now() })
      else this.unconfirmed.push(describe(answer))
    } catch (error) {
      this.unconfirmed.push(String(error))
    }
  }

  async writeUntil(end: AbortSignal): Promise<void> {
    while (!end.aborted) {
      await this.write()
      await delay(paceMs)
    }
  }

  /** What is wrong with a 200, if anything is: later writes may be seen, earlier ones only for `maxStalenessMs`. */
  staleness(answer: Answer): string | undefined {
    const required = this.confirmed.findLast(({ at }) => at <= answer.sentAt - maxStalenessMs)?.value ?? 0
    const value = writtenValue(answer)
    if (value >= required) return undefined
    const overwritten = this.confirmed.find((write) => write.value > value)
    const ageMs = Math.round(answer.sentAt - (overwritten?.at ?? 0))
    return `v${value} was answered to a request sent ${ageMs} ms after a newer value was confirmed`
  }
}

/** Reads a writer's user again and again, and keeps every answer. */
export class Reader {
  readonly answers: Answer[] = []
  readonly failures: string[] = []

  constructor(
    private readonly base: string,
    readonly writer: Writer,
  ) {}

  async readUntil(end: AbortSignal): Promise<void> {
    while (!end.aborted) {
      try {
        this.answers.push(await readUser(this.base, this.writer.userId))
      } catch (error) {
        this.failures.push(String(error))
      }
      await delay(paceMs)
    }
  }

  get slowestMs(): number {
    return Math.round(Math.max(0, ...this.answers.map(({ tookMs }) => tookMs)))
  }

  /** Everything that broke the promise, given what the answers may be besides a fresh 200. */
  faults(isAllowed: (answer: Answer) => boolean = () => false): string[] {
    const faults = this.answers.map((answer) => {
      if (answer.status === 200) return this.writer.staleness(answer)
      return isAllowed(answer) ? undefined : describe(answer)
    })
    return [...this.failures, ...faults.filter((fault) => fault !== undefined)]
  }
}

/**
 * Runs writers and readers while `work` does, and ends them with it.
 *
 * @throws what `work` throws
 */
export async function during(
  traffic: readonly (Writer | Reader)[],
  work: () => Promise<void>,
): Promise<void> {
  const end = new AbortController()
  const running = traffic.map((one) =>
    one instanceof Writer ? one.writeUntil(end.signal) : one.readUntil(end.signal),
  )
  try {
    await work()
  } finally {
    end.abort()
    await Promise.all(running)
  }
}
