import { setTimeout as delay } from 'node:timers/promises'
import type { Answer, ComposeNode } from '../kit/compose.js'
import { describeAnswer, maxStalenessMs, readUser, type User, writeUser, writtenValue } from './users.js'

/** Milliseconds between two requests of one reader or writer. */
const paceMs = 25

/** Writes rising numbers into one user's name, one write after another. It knows what every reader must see by when. */
export class Writer {
  readonly confirmed: { readonly value: number; readonly at: number }[] = []
  /** Writes that failed, or may have failed. */
  readonly unconfirmed: string[] = []
  #value = 0

  constructor(
    readonly userId: string,
    private readonly node: ComposeNode,
  ) {}

  /** The last value whose write was confirmed. */
  get last(): number {
    return this.confirmed.at(-1)?.value ?? 0
  }

  async write(): Promise<void> {
    const value = ++this.#value
    try {
      const answer = await writeUser(this.node, this.userId, value)
      if (answer.status === 200) this.confirmed.push({ value, at: performance.now() })
      else this.unconfirmed.push(describeAnswer(answer))
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

  /** Says how a 200 is stale; undefined if it is not. A read may show a replaced value for `maxStalenessMs` only. */
  staleness(answer: Answer<User>): string | undefined {
    const required = this.confirmed.findLast(({ at }) => at <= answer.sentAt - maxStalenessMs)?.value ?? 0
    const value = writtenValue(answer)
    if (value >= required) return undefined
    const overwritten = this.confirmed.find((write) => write.value > value)
    const ageMs = Math.round(answer.sentAt - (overwritten?.at ?? 0))
    return `v${value} was answered to a request sent ${ageMs} ms after a newer value was confirmed`
  }
}

/** Reads the user of a writer again and again, and keeps every answer. */
export class Reader {
  readonly answers: Answer<User>[] = []
  readonly failures: string[] = []

  constructor(
    private readonly node: ComposeNode,
    readonly writer: Writer,
  ) {}

  async readUntil(end: AbortSignal): Promise<void> {
    while (!end.aborted) {
      try {
        this.answers.push(await readUser(this.node, this.writer.userId))
      } catch (error) {
        this.failures.push(String(error))
      }
      await delay(paceMs)
    }
  }

  get slowestMs(): number {
    return Math.round(Math.max(0, ...this.answers.map(({ tookMs }) => tookMs)))
  }

  /** All answers that broke the promise. `isAllowed` accepts answers other than a fresh 200. */
  faults(isAllowed: (answer: Answer<User>) => boolean = () => false): string[] {
    const faults = this.answers.map((answer) => {
      if (answer.status === 200) return this.writer.staleness(answer)
      return isAllowed(answer) ? undefined : describeAnswer(answer)
    })
    return [...this.failures, ...faults.filter((fault) => fault !== undefined)]
  }
}

/**
 * Runs writers and readers for as long as `work` runs.
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
