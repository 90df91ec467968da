import { ambient, runAsPartOf } from '../ambient.js'
import { CyclicLoadError } from './cache-errors.js'
import type { Staleness } from './cache-events.js'

declare module '../ambient.js' {
  interface Ambient {
    readonly load?: LoadScope
  }
}

/** What one call of a factory loads. */
export interface Loading {
  readonly cache: string
  readonly keys: readonly string[]
}

/** A read that waits for a load: its own, or one that it has joined. */
export interface WaitingRead {
  /** Undefined while the factory has not been called. */
  readonly load: LoadScope | undefined
}

/** What a piece of work learns of the cached reads inside it: a call of a factory, or a part of one. */
export class LoadScope {
  readonly names = new Set<string>()
  /** The reads inside that are not answered yet. */
  readonly waiting = new Set<WaitingRead>()
  readonly requiredPosition: number
  /** Set once the work has ended. Reads that it has left behind are no part of its value. */
  isOver = false
  #staleness: Staleness | undefined

  /**
   * @param requiredPosition what the token of whoever is given the result asks for; by default more than there is, as
   *   a load may be shared by callers that nobody knows yet
   * @param whole the load that this work is a part of: that depends on whatever this depends on
   * @param loading what is loaded; undefined if this is the work of a query that is not cached
   * @param asker the work in which the read was made that this is done for
   */
  constructor(
    requiredPosition = Number.POSITIVE_INFINITY,
    readonly whole?: LoadScope,
    readonly loading?: Loading,
    readonly asker = whole,
  ) {
    this.requiredPosition = Math.max(requiredPosition, whole?.requiredPosition ?? 0)
  }

  /** The call of a factory that all of it belongs to. */
  get load(): LoadScope {
    return this.whole?.load ?? this
  }

  /** Set if something stale was answered inside: what is made of it is as stale, and nobody else's business. */
  get staleness(): Staleness | undefined {
    return this.#staleness
  }

  add(names: readonly string[] | ReadonlySet<string>): void {
    for (const name of names) this.names.add(name)
    this.whole?.add(names)
  }

  sawStale(staleness: Staleness): void {
    if (gravity(staleness) > gravity(this.#staleness)) this.#staleness = staleness
    this.whole?.sawStale(staleness)
  }

  /** Whether it cannot end before `other` has, because of what the reads inside it wait for. */
  waitsFor(other: LoadScope): boolean {
    const seen = new Set<LoadScope>([this])
    for (const load of seen) {
      if (load === other) return true
      for (const read of load.waiting) if (read.load) seen.add(read.load)
    }
    return false
  }
}

/** The scope of a load whose value is shared: those who are given it learn then what it depends on. */
export function scopeOfLoad(loading: Loading): LoadScope {
  const asker = outerLoad()
  refuseCycle(loading, asker)
  return new LoadScope(Number.POSITIVE_INFINITY, undefined, loading, asker)
}

/** The scope of work whose result only the load around it gets, if there is one: that learns everything at once. */
export function scopeWithinLoad(requiredPosition: number, loading?: Loading): LoadScope {
  const whole = outerLoad()
  if (loading) refuseCycle(loading, whole)
  return new LoadScope(requiredPosition, whole, loading)
}

export async function runLoad<Result>(scope: LoadScope, load: () => Promise<Result>): Promise<Result> {
  try {
    return await runAsPartOf({ load: scope }, load)
  } finally {
    scope.isOver = true
  }
}

/**
 * The work that the present code is part of. A cached read inside a load makes the outer value depend on all that
 * the inner one depends on; without that the outer entry would outlive an invalidation of what it was made from.
 */
export function outerLoad(): LoadScope | undefined {
  let scope = ambient()?.load
  while (scope?.isOver) scope = scope.whole
  return scope
}

/** @throws CyclicLoadError if the load is for what a load around it is for: it would never come to an end */
function refuseCycle(loading: Loading, asker: LoadScope | undefined): void {
  const chain = [loading]
  for (let scope = asker; scope; scope = scope.asker) {
    if (scope.isOver || !scope.loading) continue
    chain.unshift(scope.loading)
    if (isSame(scope.loading, loading)) throw new CyclicLoadError(chain.map(described))
  }
}

function isSame(one: Loading, other: Loading): boolean {
  if (one.cache !== other.cache || one.keys.length !== other.keys.length) return false
  const keys = new Set(one.keys)
  return other.keys.every((key) => keys.has(key))
}

/** Keys that an error names of one load. */
const keysNamed = 3

function described({ cache, keys }: Loading): string {
  const named = keys.slice(0, keysNamed).map((key) => JSON.stringify(key))
  const more = keys.length > keysNamed ? ` and ${keys.length - keysNamed} more` : ''
  return `${cache} ${named.join(', ')}${more}`
}

/** What is known to be older than a committed write is the worst to show. */
function gravity(staleness: Staleness | undefined): number {
  return staleness === undefined ? 0 : { expired: 1, unverified: 2, invalidated: 3 }[staleness]
}
