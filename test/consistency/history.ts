/** A value of a row for as long as it was the committed one. */
export interface Reign {
  readonly value: string | null
  /** The commit that began it: commits are counted from 1 on. What a failover takes back counts as one. */
  readonly from: number
  /** The commit that wrote the value: an earlier one, where a failover has brought it back. 0 for the first value. */
  readonly writtenBy: number
  /** The commit that ended it, and when. */
  until?: number
  replacedAt?: number
}

/** A transaction that committed: which one of all, and what it wrote. */
export interface Commit {
  readonly moment: number
  readonly operation: string
  readonly keys: readonly string[]
}

/** What was true when, for the judge alone: no code of the service can look at it. */
export class History {
  #moment = 0
  readonly #reigns = new Map<string, Reign[]>()
  /** The commit at each position, by epoch. */
  readonly #positions = new Map<string, Commit[]>()

  /** The newest commit. */
  get moment(): number {
    return this.#moment
  }

  begin(key: string, value: string | null): void {
    this.#reigns.set(key, [{ value, from: 0, writtenBy: 0 }])
  }

  nextMoment(): number {
    return ++this.#moment
  }

  replace(key: string, value: string | null, now: number): void {
    this.#begin(key, { value, from: this.#moment, writtenBy: this.#moment }, now)
  }

  /** A failover takes a commit back: what was there before it is there again. */
  restore(key: string, value: string | null, now: number): void {
    const earlier = this.reignsOf(key).findLast((reign) => reign.value === value)
    this.#begin(key, { value, from: this.#moment, writtenBy: earlier?.writtenBy ?? 0 }, now)
  }

  reignsOf(key: string): Reign[] {
    const reigns = this.#reigns.get(key)
    if (!reigns) throw new Error(`never: ${key} is no row`)
    return reigns
  }

  numbered(epoch: string, position: number, commit: Commit): void {
    this.#at(epoch)[position] = commit
  }

  /** A new epoch goes on from what is left of the old one. */
  continueEpoch(old: string, epoch: string, head: number): void {
    this.#positions.set(epoch, this.#at(old).slice(0, head + 1))
  }

  /** The newest commit to a key among the positions up to one: what a node that has applied it may not fall behind. */
  momentAt(epoch: string, position: number, key: string): number {
    let moment = 0
    for (const commit of this.#at(epoch).slice(0, position + 1)) {
      if (commit?.keys.includes(key)) moment = Math.max(moment, commit.moment)
    }
    return moment
  }

  /** Whether the state that a position stands for includes a commit. */
  covers(epoch: string, position: number, moment: number): boolean {
    return this.#at(epoch)
      .slice(0, position + 1)
      .some((commit) => commit?.moment === moment)
  }

  /** In any epoch: a failover may take a commit back, but it was one. */
  isCommitted(operation: string): boolean {
    return [...this.#positions.values()].some((commits) =>
      commits.some((commit) => commit?.operation === operation),
    )
  }

  #begin(key: string, reign: Reign, now: number): void {
    const reigns = this.reignsOf(key)
    const last = reigns.at(-1)
    if (last) {
      last.until = reign.from
      last.replacedAt = now
    }
    reigns.push(reign)
  }

  #at(epoch: string): Commit[] {
    const positions = this.#positions.get(epoch) ?? []
    this.#positions.set(epoch, positions)
    return positions
  }
}
