import { AsyncLocalStorage } from 'node:async_hooks'

/** Names that the value being loaded depends on, collected while its factory runs. */
export class LoadScope {
  readonly names = new Set<string>()

  add(names: Iterable<string>): void {
    for (const name of names) this.names.add(name)
  }
}

const ambient = new AsyncLocalStorage<LoadScope>()

export function runLoad<Result>(scope: LoadScope, load: () => Promise<Result>): Promise<Result> {
  return ambient.run(scope, load)
}

/**
 * A cached read inside a load makes the outer value depend on all that the inner one depends on; without
 * that the outer entry would outlive an invalidation of what it was made from.
 */
export function dependOuterLoadOn(names: Iterable<string>): void {
  ambient.getStore()?.add(names)
}
