/**
 * Since when each version of one key is known to be committed, because its write was answered or an answer showed it. Both
 * lists are in rising order: an older version that becomes known later is not added.
 */
export class KnownVersions {
  readonly #versions: number[] = []
  readonly #moments: number[] = []

  get newest(): number {
    return this.#versions.at(-1) ?? 0
  }

  /** @param at must not be earlier than that of the call before */
  note(version: number, at: number): void {
    if (version <= this.newest) return
    this.#versions.push(version)
    this.#moments.push(at)
  }

  /** The newest version that was known at a moment; 0 if there was none. */
  newestAt(moment: number): number {
    const after = firstAbove(this.#moments, moment)
    return after === 0 ? 0 : (this.#versions[after - 1] as number)
  }

  /** Since when a version is known to be replaced; undefined if it is not. */
  replacedAt(version: number): number | undefined {
    return this.#moments[firstAbove(this.#versions, version)]
  }
}

/** The index of the first number above `bound` in a rising list. */
function firstAbove(list: readonly number[], bound: number): number {
  let [low, high] = [0, list.length]
  while (low < high) {
    const middle = (low + high) >>> 1
    if ((list[middle] as number) > bound) high = middle
    else low = middle + 1
  }
  return low
}
