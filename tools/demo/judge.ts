/** One answered read. Times are ms on `performance.now()`. */
export interface Read {
  readonly node: number
  readonly startedAt: number
  readonly arrivedAt: number
  /** 0 if the node said that the user does not exist. */
  readonly version: number
  readonly name: string
  /** Whether it was answered from the node's own memory. */
  readonly fromMemory: boolean
  /** The version of the write from which the read's Consistency-Token came; 0 without a token. */
  readonly atLeast: number
}

/** A version that was committed at `at` or before. */
export interface Commit {
  readonly version: number
  readonly at: number
}

export type Verdict = 'fresh' | 'old within the bound' | 'stale'

/**
 * A read may lack only writes that were committed less than the bound before it *started*, and no write that its token covers.
 * The time that the answer took does not count.
 */
export function judge(read: Read, commits: readonly Commit[], boundMs: number): Verdict {
  const newestBefore = (moment: number) =>
    Math.max(0, ...commits.filter(({ at }) => at < moment).map(({ version }) => version))
  if (read.version < read.atLeast || read.version < newestBefore(read.startedAt - boundMs)) return 'stale'
  return read.version < newestBefore(read.startedAt) ? 'old within the bound' : 'fresh'
}

export interface Outcome {
  /** The name in the node's last answer. */
  readonly name: string
  readonly fresh: boolean
  /** Ms from the commit to the first new answer after which no old one came, or to the last old one if there is none. */
  readonly afterMs: number
  /** Whether any read that started after the commit was answered with the old value. */
  readonly sawOld: boolean
}

/** What a node has answered since a commit; undefined if it has answered nothing. */
export function outcomeOf(reads: readonly Read[], commit: Commit): Outcome | undefined {
  const ordered = reads.toSorted((a, b) => a.startedAt - b.startedAt)
  const since = ordered.filter(({ startedAt }) => startedAt >= commit.at)
  const last = since.at(-1)
  if (!last) return undefined
  const lastOld = since.findLast(({ version }) => version < commit.version)
  const newAnswers = ordered.filter(
    ({ version, startedAt }) => version >= commit.version && startedAt > (lastOld?.startedAt ?? 0),
  )
  const fresh = newAnswers.length > 0
  const moment = fresh ? Math.min(...newAnswers.map(({ arrivedAt }) => arrivedAt)) : last.startedAt
  return {
    name: last.name,
    fresh,
    afterMs: Math.max(0, moment - commit.at),
    sawOld: lastOld !== undefined,
  }
}

export interface Tally {
  readonly reads: number
  readonly withToken: number
  readonly oldWithinBound: number
  readonly stale: number
}

export const noReads: Tally = { reads: 0, withToken: 0, oldWithinBound: 0, stale: 0 }

/** Counts the reads of one user. */
export function tally(reads: readonly Read[], commits: readonly Commit[], boundMs: number): Tally {
  const verdicts = reads.map((read) => judge(read, commits, boundMs))
  return {
    reads: reads.length,
    withToken: reads.filter(({ atLeast }) => atLeast > 0).length,
    oldWithinBound: verdicts.filter((verdict) => verdict === 'old within the bound').length,
    stale: verdicts.filter((verdict) => verdict === 'stale').length,
  }
}

export function sum(one: Tally, other: Tally): Tally {
  return {
    reads: one.reads + other.reads,
    withToken: one.withToken + other.withToken,
    oldWithinBound: one.oldWithinBound + other.oldWithinBound,
    stale: one.stale + other.stale,
  }
}
