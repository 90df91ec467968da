import { ambient, runAsPartOf } from '../../ambient.js'
import { CyclicLoadError } from '../cache-errors.js'
import type { Staleness } from '../cache-events.js'

declare module '../../ambient.js' {
  interface Ambient {
    readonly load?: LoadScope
  }
}

/** What one call of a factory loads. */
export interface Loading {
  readonly cache: string
  readonly keys: readonly string[]
}

/** A read that waits for a load, which it began or joined. */
export interface WaitingRead {
  /** Undefined until the factory is called. */
  readonly load: LoadScope | undefined
}

/** What a piece of work, a call of a factory or a part of one, learns from the cached reads inside it. */
export class LoadScope {
  readonly names = new Set<string>()
  /** The reads inside that are not answered yet. */
  readonly waiting = new Set<WaitingRead>()
  readonly requiredPosition: number
  /** Set once the work has ended. Reads that it left running are not part of its value. */
  isOver = false
  #staleness: Staleness | undefined

  /**
   * @param requiredPosition what the token of whoever is given the result asks for; by default more than there is, as
   *   a load may be shared by callers that nobody knows yet
   * @param whole the load that this work is a part of; it depends on everything that this work depends on
   * @param loading what is loaded; undefined if this is the work of a query that is not cached
   * @param asker the work that contains the read for which this work is done
   */
  constructor(
    requiredPosition = Number.POSITIVE_INFINITY,
    readonly whole?: LoadScope,
    readonly loading?: Loading,
    readonly asker = whole,
  ) {
    this.requiredPosition = Math.max(requiredPosition, whole?.requiredPosition ?? 0)
  }

  /** The call of the factory that this work belongs to. */
  get load(): LoadScope {
    return this.whole?.load ?? this
  }

  /** Set if a read inside was answered with something stale. The result is then as stale, and must not be kept. */
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

  /** Whether it cannot end before `other` ends, because the reads inside it wait for it, directly or through other loads. */
  waitsFor(other: LoadScope): boolean {
    const seen = new Set<LoadScope>([this])
    for (const load of seen) {
      if (load === other) return true
      for (const read of load.waiting) if (read.load) seen.add(read.load)
    }
    return false
  }
}

/** The scope of a load whose value is shared. A load that is given the value learns at that time what it depends on. */
export function scopeOfLoad(loading: Loading): LoadScope {
  const asker = outerLoad()
  refuseCycle(loading, asker)
  return new LoadScope(Number.POSITIVE_INFINITY, undefined, loading, asker)
}

/** The scope of work whose result goes only to the load around it, if there is one. That load learns every dependency at once. */
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

/** @throws CyclicLoadError if a load around it loads the same value, as it would never end */
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

/** Most keys of one load that an error names. */
const keysNamed = 3

function described({ cache, keys }: Loading): string {
  const named = keys.slice(0, keysNamed).map((key) => JSON.stringify(key))
  const more = keys.length > keysNamed ? ` and ${keys.length - keysNamed} more` : ''
  return `${cache} ${named.join(', ')}${more}`
}

/** A higher number is worse. A value that is known to be older than a committed write is the worst one to show. */
function gravity(staleness: Staleness | undefined): number {
  return staleness === undefined ? 0 : { expired: 1, unverified: 2, invalidated: 3 }[staleness]
}
