/** One answered read. Times are ms on `performance.now()`. */
export interface Read {
  readonly node: number
  readonly startedAt: number
  readonly arrivedAt: number
  /** 0: the node said that there is no such user. */
  readonly version: number
  readonly name: string
  /** Whether it was answered from the node's own memory. */
  readonly fromMemory: boolean
  /** The version that the read's Consistency-Token stands for; 0 without a token. */
  readonly atLeast: number
}

/** A version that was certainly committed at `at`, or before. */
export interface Commit {
  readonly version: number
  readonly at: number
}

export type Verdict = 'fresh' | 'old within the bound' | 'stale'

/**
 * A read may lack only what was committed less than the bound before it *began*, and nothing that its token
 * names. How long the answer took excuses nothing.
 */
export function judge(read: Read, commits: readonly Commit[], boundMs: number): Verdict {
  const newestBefore = (moment: number) =>
    Math.max(0, ...commits.filter(({ at }) => at < moment).map(({ version }) => version))
  if (read.version < read.atLeast || read.version < newestBefore(read.startedAt - boundMs)) return 'stale'
  return read.version < newestBefore(read.startedAt) ? 'old within the bound' : 'fresh'
}

export interface Outcome {
  /** What the node said last. */
  readonly name: string
  readonly fresh: boolean
  /** Ms from the commit to the first new answer with no old one after it; if there is none, to the last old one. */
  readonly afterMs: number
  /** Whether any read that began after the commit was answered with the old value. */
  readonly sawOld: boolean
}

/** What became of one commit on one node; undefined if the node has answered nothing since. */
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
