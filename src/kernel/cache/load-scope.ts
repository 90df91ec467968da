import { ambient, runAsPartOf } from '../ambient.js'
import type { Staleness } from './cache-events.js'

declare module '../ambient.js' {
  interface Ambient {
    readonly load?: LoadScope
  }
}

/** What a load learns of the cached reads inside it, collected while its factory runs. */
export class LoadScope {
  readonly names = new Set<string>()
  /** Something stale was answered inside: what is made of it is as stale, and nobody else's business. */
  staleness: Staleness | undefined

  /**
   * @param requiredPosition what the token of whoever is given the result asks for; by default more than there is, as
   *   a load may be shared by callers that nobody knows yet
   */
  constructor(readonly requiredPosition = Number.POSITIVE_INFINITY) {}

  add(names: Iterable<string>): void {
    for (const name of names) this.names.add(name)
  }
}

export function runLoad<Result>(scope: LoadScope, load: () => Promise<Result>): Promise<Result> {
  return runAsPartOf({ load: scope }, load)
}

/**
 * The load that the present code is part of. A cached read inside a load makes the outer value depend on all that
 * the inner one depends on; without that the outer entry would outlive an invalidation of what it was made from.
 */
export function outerLoad(): LoadScope | undefined {
  return ambient()?.load
}
