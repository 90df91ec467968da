import { setTimeout as sleep } from 'node:timers/promises'
import { type Answer, type RequestOptions, request } from './client.js'
import type { CommitWitness } from './commit-witness.js'
import { type Commit, judge, type Outcome, outcomeOf, type Read, type Tally, tally } from './judge.js'

/** The bound that the nodes run with, and are judged by. */
export const maxStalenessMs = 2_000

/** Ms between two reads of a node. */
export const pollMs = 5

/** A node that stopped answering is not to be buried under requests. */
const mostUnanswered = 100

const warmLimitMs = 10_000

/** What a watch needs to know of its side. */
export interface Watched {
  readonly witness: CommitWitness
  node(number: number): { readonly name: string; readonly url: string }
}

export interface Write extends Commit {
  readonly sentAt: number
  /** Settles when the write is answered, or its connection breaks; does not reject. */
  readonly settled: Promise<void>
  /** Undefined while it has no answer, and for ever if its node died. */
  answer: Answer | undefined
}

/** One user on one side: every commit, and every read of any node. */
export class Watch {
  readonly reads: Read[] = []
  /** What was answered instead of the user, or why nothing was. */
  readonly failures: string[] = []
  readonly #commits: Commit[]
  readonly #polls: NodeJS.Timeout[] = []
  readonly #unanswered = new Set<Promise<void>>()

  constructor(
    readonly side: Watched,
    readonly userId: string,
    registered: Commit,
  ) {
    this.#commits = [registered]
  }

  /** Reads until the node answers from its own memory: only then could it be stale. */
  async warm(number: number): Promise<void> {
    const limit = performance.now() + warmLimitMs
    while (!(await this.read(number))?.fromMemory) {
      if (performance.now() > limit)
        throw new Error(`${this.side.node(number).name} did not take the user into its memory`)
      await sleep(pollMs)
    }
  }

  /** Reads a node every few ms from now on, whether or not it has answered the reads before, as clients would. */
  poll(...numbers: readonly number[]): void {
    for (const number of numbers) {
      let waiting = 0
      const tick = () => {
        if (waiting >= mostUnanswered) return
        waiting++
        const read = this.read(number).then(() => {
          waiting--
          this.#unanswered.delete(read)
        })
        this.#unanswered.add(read)
      }
      this.#polls.push(setInterval(tick, pollMs))
    }
  }

  /** Ends the polls and waits for their answers; to be called before a node is replaced. */
  async stop(): Promise<void> {
    for (const timer of this.#polls.splice(0)) clearInterval(timer)
    await Promise.all(this.#unanswered)
  }

  /**
   * One read, which is kept.
   *
   * @param proof the write that the read must see, by its token
   */
  async read(number: number, proof?: Write): Promise<Read | undefined> {
    const node = this.side.node(number)
    const options: RequestOptions = { token: tokenOf(proof) }
    let answer: Answer
    try {
      answer = await request('GET', `${node.url}/users/${this.userId}`, options)
    } catch (error) {
      this.failures.push(`${node.name}: ${(error as Error).message}`)
      return undefined
    }
    if (answer.status !== 200 && answer.status !== 404) {
      this.failures.push(`${node.name} answered ${answer.status} ${answer.text.slice(0, 200)}`)
      return undefined
    }
    const user = answer.status === 404 ? absent : (JSON.parse(answer.text) as typeof absent)
    const read: Read = {
      node: number,
      startedAt: answer.startedAt,
      arrivedAt: answer.arrivedAt,
      version: user.version,
      name: user.name,
      fromMemory: /l1; hit$/.test(String(answer.headers['cache-status'])),
      atLeast: options.token === undefined ? 0 : (proof?.version ?? 0),
    }
    this.reads.push(read)
    return read
  }

  /**
   * Renames the user by a request to one node. Resolves once Postgres shows the row, answered or not.
   *
   * @param options `killsNode`: the request is not expected to be answered
   * @throws Error if it is not committed
   */
  async rename(number: number, name: string, options: { killsNode?: boolean } = {}): Promise<Write> {
    const version = Math.max(...this.#commits.map((commit) => commit.version)) + 1
    const sentAt = performance.now()
    const outcome: { answer: Answer | undefined } = { answer: undefined }
    const settled = request('PATCH', `${this.side.node(number).url}/users/${this.userId}`, {
      body: { name },
    }).then(
      (answer) => {
        outcome.answer = answer
        if (answer.status !== 200)
          this.failures.push(`the write was answered ${answer.status} ${answer.text}`)
      },
      (error: Error) => {
        if (!options.killsNode) this.failures.push(`the write was not answered: ${error.message}`)
      },
    )
    const shownAt = await this.side.witness.shown(this.userId, version)
    const at = Math.min(shownAt, outcome.answer?.arrivedAt ?? shownAt)
    const write: Write = Object.assign(outcome, { version, at, sentAt, settled })
    this.#commits.push(write)
    return write
  }

  /** What became of a write on one node. */
  outcome(number: number, write: Commit): Outcome | undefined {
    return outcomeOf(
      this.reads.filter(({ node }) => node === number),
      write,
    )
  }

  /** The stale reads in words, for a person to find out why. */
  staleReads(): string[] {
    return this.reads
      .filter((read) => judge(read, this.#commits, maxStalenessMs) === 'stale')
      .map((read) => {
        const newest = this.#commits.findLast(({ at }) => at < read.startedAt)
        const since = Math.round(read.startedAt - (newest?.at ?? 0))
        const token = read.atLeast > 0 ? `, with a token of version ${read.atLeast}` : ''
        return (
          `${this.side.node(read.node).name} answered version ${read.version} of user ${this.userId}` +
          `${read.fromMemory ? ' from memory' : ''}, ${since} ms after version ${newest?.version} was committed${token}`
        )
      })
  }

  tally(reads: readonly Read[] = this.reads): Tally {
    return tally(reads, this.#commits, maxStalenessMs)
  }
}

const absent = { version: 0, name: '(no such user)' }

/** Only one of the sides has tokens. */
function tokenOf(write: Write | undefined): string | undefined {
  const token = write?.answer?.headers['consistency-token']
  return typeof token === 'string' ? token : undefined
}
