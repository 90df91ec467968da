import { setTimeout as sleep } from 'node:timers/promises'
import { type Answer, type RequestOptions, request } from './client.js'
import type { CommitWitness } from './commit-witness.js'
import { type Commit, judge, type Outcome, outcomeOf, type Read, type Tally, tally } from './judge.js'

/** The bound on staleness with which the nodes run, and by which the reads are judged. */
export const maxStalenessMs = 2_000

/** Ms between two reads of a node. */
export const pollMs = 5

/** Limits the requests that wait for a node that does not answer. */
const mostUnanswered = 100

const warmLimitMs = 10_000

/** What a watch needs to know about its side. */
export interface Watched {
  readonly witness: CommitWitness
  node(number: number): { readonly name: string; readonly url: string }
}

export interface Write extends Commit {
  readonly sentAt: number
  /** Resolves when the write is answered or its connection breaks. It never rejects. */
  readonly settled: Promise<void>
  /** Undefined until the answer comes. It never comes if the node dies. */
  answer: Answer | undefined
}

/** All commits of one user on one side, and all reads from any node. */
export class Watch {
  readonly reads: Read[] = []
  /** Answers other than the user, and errors. */
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

  /** Reads until the node answers from its own memory. Only then could it be stale. */
  async warm(number: number): Promise<void> {
    const limit = performance.now() + warmLimitMs
    while (!(await this.read(number))?.fromMemory) {
      if (performance.now() > limit)
        throw new Error(`${this.side.node(number).name} did not take the user into its memory`)
      await sleep(pollMs)
    }
  }

  /** Reads a node every few ms from now on. Like real clients, it does not wait for earlier answers. */
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

  /** Stops reading and waits for the answers. Must be called before a node is replaced. */
  async stop(): Promise<void> {
    for (const timer of this.#polls.splice(0)) clearInterval(timer)
    await Promise.all(this.#unanswered)
  }

  /**
   * Makes one read and keeps it.
   *
   * @param proof a write whose token the read sends, so that it must see the write
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
   * Renames the user by a request to one node. Resolves once Postgres shows the new row, whether or not the node has answered.
   *
   * @param options `killsNode` means that no answer is expected
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

  /** What one node has answered since a write. */
  outcome(number: number, write: Commit): Outcome | undefined {
    return outcomeOf(
      this.reads.filter(({ node }) => node === number),
      write,
    )
  }

  /** Describes the stale reads, so that a person can find out why. */
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

/** Undefined on the side without tokens. */
function tokenOf(write: Write | undefined): string | undefined {
  const token = write?.answer?.headers['consistency-token']
  return typeof token === 'string' ? token : undefined
}
