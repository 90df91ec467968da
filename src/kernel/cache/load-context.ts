import { assertTag, dependencyOn } from '../journal/invalidation-rules.js'
import type { CacheEntry } from './entries/cache-entry.js'
import { type AdaptiveOptions, checkAdaptiveOptions, type EntryOptions, withGiven } from './entry-options.js'
import type { LoadScope } from './reads/load-scope.js'
import { givenOf } from './values/mutation-safety.js'

/** What an origin says of a version of a value, so that it can be asked whether there is a newer one. */
export interface Validators {
  readonly etag?: string | undefined
  readonly lastModified?: string | undefined
}

/** What a factory may learn and decide while it loads. */
export interface LoadContext<Value = unknown> {
  readonly key: string
  /** Aborts when nobody waits for this load any more and it is not to complete in the background. */
  readonly signal: AbortSignal
  /** What this node holds of an earlier load, however old. Never to be returned but by `notModified`. */
  readonly previous: (Validators & { readonly value: Value }) | undefined
  /**
   * Adds tags that are known only once the value is.
   *
   * @throws TypeError if a tag is not text that an event can carry
   */
  tag(...tags: string[]): void
  /**
   * Sets options of this value alone; what the caller passed stays as it is.
   *
   * @throws RangeError naming the option that is out of range
   * @throws TypeError naming an option that a load may not decide
   */
  adapt(options: AdaptiveOptions): void
  /** The value is answered, and kept nowhere. */
  doNotStore(): void
  /** Kept with the value, and shown as part of `previous` to the next load. */
  validators(validators: Validators): void
  /**
   * To be returned when the origin says that `previous` still holds: the value is renewed, with this load's
   * position and with the validators that it had.
   *
   * @throws TypeError if there is no previous value
   */
  notModified(): Value
}

/** Loads a value of a cache that holds `Value`s. */
export type Factory<Value = unknown, Result extends Value = Value> = (
  context: LoadContext<Value>,
) => Promise<Result>

/** The context of one load, and what the factory has decided through it. */
export class RunningLoad implements LoadContext {
  readonly previous: (Validators & { readonly value: unknown }) | undefined
  readonly tags = new Set<string>()
  /** What the factory has decided, and the options of the read with that. */
  decided: AdaptiveOptions = {}
  adapted: EntryOptions
  given: Validators = {}
  stored = true
  renewed: CacheEntry | undefined

  constructor(
    readonly key: string,
    readonly signal: AbortSignal,
    options: EntryOptions,
    private readonly scope: LoadScope,
    private readonly earlier: CacheEntry | undefined,
  ) {
    this.adapted = options
    if (earlier) {
      const { kept, etag, lastModified } = earlier
      this.previous = { value: givenOf(kept), etag, lastModified }
    }
    // A factory may take the methods off the context.
    this.tag = this.tag.bind(this)
    this.adapt = this.adapt.bind(this)
    this.doNotStore = this.doNotStore.bind(this)
    this.validators = this.validators.bind(this)
    this.notModified = this.notModified.bind(this)
  }

  tag(...tags: string[]): void {
    for (const tag of tags) {
      assertTag(tag)
      this.tags.add(tag)
    }
    // Added at once, because the load may fail. What is then made without its value depends on these tags, too.
    this.scope.add(tags.map(dependencyOn.tag))
  }

  adapt(options: AdaptiveOptions): void {
    checkAdaptiveOptions(options)
    const given = Object.entries(options).filter(([, value]) => value !== undefined)
    this.adapted = withGiven(this.adapted, options)
    this.decided = { ...this.decided, ...Object.fromEntries(given) }
  }

  doNotStore(): void {
    this.stored = false
  }

  validators(validators: Validators): void {
    this.given = validators
  }

  notModified(): unknown {
    if (!this.earlier || !this.previous) {
      throw new TypeError(
        'notModified: there is no previous value. Ask for `previous` before the origin is asked.',
      )
    }
    this.renewed = this.earlier
    this.given = { ...this.given, etag: this.earlier.etag, lastModified: this.earlier.lastModified }
    // What it was made from was recorded by the load that made it, not by this one.
    this.scope.add(this.earlier.names)
    return this.previous.value
  }
}
