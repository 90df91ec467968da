import type { DomainEventClass, PayloadOf } from '../domain/domain-event.js'
import type { JournalMessage } from './journal.js'

/** What an event makes stale: keys of the query that declares it, and tags, which all queries share. */
export interface Invalidation {
  readonly keys?: readonly string[]
  readonly tags?: readonly string[]
}

/** One event and what it makes stale. Made by `on`, which ties the mapping's argument to the event's payload. */
export interface EventMapping {
  readonly event: DomainEventClass
  readonly map: (payload: never) => Invalidation
}

export function on<Event extends DomainEventClass>(
  event: Event,
  map: (payload: PayloadOf<Event>) => Invalidation,
): EventMapping {
  return { event, map }
}

/** Postgres carries no NUL, and no half of a surrogate pair: what is named by one could never be removed. */
export function isText(name: string): boolean {
  return name.isWellFormed() && !name.includes('\0')
}

/** @throws TypeError if no event could carry the tag */
export function assertTag(tag: string): void {
  if (typeof tag !== 'string' || !isText(tag)) {
    throw new TypeError(
      `A tag is text without NUL and without half a surrogate pair, not ${JSON.stringify(tag)}`,
    )
  }
}

/**
 * Names in the table of last invalidations. They cannot meet: the character after the prefix of a cache's
 * name is never part of the name itself.
 */
export const dependencyOn = {
  key: (cache: string, key: string): string => `k:${cache}:${key}`,
  /** @throws TypeError if no event could carry the tag */
  tag: (tag: string): string => {
    assertTag(tag)
    return `t:${tag}`
  },
  cache: (cache: string): string => `c:${cache}`,
  /** Raised with each key of the cache: for a value that depends on too many of them to name each. */
  anyKey: (cache: string): string => `K:${cache}`,
  /** Raised with each tag. */
  anyTag: 'T',
  /** Any key of the cache that a key is of; undefined for what is not the name of a key. */
  anyKeyLike: (name: string): string | undefined =>
    isOfKey(name) ? dependencyOn.anyKey(name.slice(2, name.indexOf(':', 2))) : undefined,
  isTag: (name: string): boolean => name.startsWith('t:'),
}

/**
 * Names of keys of one cache, and of tags, with what stands for any of them.
 *
 * @param anyKey made once by who calls this for each event
 */
export function namesOf(
  cache: string,
  keys: readonly string[],
  tags: readonly string[],
  anyKey = dependencyOn.anyKey(cache),
): string[] {
  const ofTags = namesOfTags(tags)
  if (keys.length === 0) return ofTags
  // Of its size from the begin: one that grows gets room for 16 more, which at each event that is applied shows.
  const names = new Array<string>(keys.length + 1 + ofTags.length)
  let count = 0
  for (const key of keys) names[count++] = dependencyOn.key(cache, key)
  names[count++] = anyKey
  for (const tag of ofTags) names[count++] = tag
  return names
}

export function namesOfTags(tags: readonly string[]): string[] {
  return tags.length === 0 ? [] : [...tags.map(dependencyOn.tag), dependencyOn.anyTag]
}

/** Whether a name is that of a key, and not of a tag or a cache. */
export function isOfKey(name: string): boolean {
  return name.startsWith('k:')
}

/**
 * What becomes of a value: it is older than a committed write (`supersede`), past its time (`expire`), or taken away
 * (`remove`). The three differ in what fail-safe may still do with it.
 */
export type InvalidationKind = 'supersede' | 'expire' | 'remove'

/** What an event makes stale, and in which way. */
export interface Invalidating {
  readonly kind: InvalidationKind
  readonly names: readonly string[] | 'all'
}

/**
 * What to do with one message: what to invalidate, or a flush for something that nobody here understands; and why.
 * What may have been a removal flushes as one.
 */
export type Effect =
  | { readonly invalidate: readonly Invalidating[]; readonly reason?: string }
  | { readonly flush: 'supersede' | 'remove'; readonly reason: string }

type Mapper = (payload: never) => Invalidating

interface Rule {
  readonly event: DomainEventClass
  readonly mappers: Mapper[]
}

/**
 * How this version of the service reads events. Each node maps events by its own rules, so that two versions
 * side by side invalidate by what their own queries depend on.
 */
export class InvalidationRules {
  readonly #rules = new Map<string, Rule>()
  readonly #listenersByModule = new Map<string, Set<string>>()
  readonly #known = new Set<string>()

  /** @param events every event of every module, also those that no query listens to */
  constructor(events: readonly DomainEventClass[] = []) {
    for (const event of events) this.#known.add(event.eventName)
  }

  /** Declares that `mapping.event` makes entries of the cache stale. */
  declare(cache: string, mapping: EventMapping): void {
    const anyKey = dependencyOn.anyKey(cache)
    this.add(mapping.event, (payload) => {
      const { keys = [], tags = [] } = mapping.map(payload as never)
      return { kind: 'supersede', names: namesOf(cache, keys, tags, anyKey) }
    })
    const module = moduleOf(mapping.event.eventName)
    const listeners = this.#listenersByModule.get(module) ?? new Set()
    this.#listenersByModule.set(module, listeners.add(cache))
  }

  /** Declares an effect that belongs to no cache in particular. */
  add<Event extends DomainEventClass>(
    event: Event,
    mapper: (payload: PayloadOf<Event>) => Invalidating,
  ): void {
    this.#known.add(event.eventName)
    const rule = this.#rules.get(event.eventName) ?? { event, mappers: [] }
    rule.mappers.push(mapper)
    this.#rules.set(event.eventName, rule)
  }

  /** Never throws: a message that cannot be understood flushes what it might have made stale. */
  effectOf(message: JournalMessage): Effect {
    const rule = this.#rules.get(message.type)
    if (!rule) return this.#effectOfUnmapped(message.type)
    let payload: ReturnType<typeof rule.event.schema.safeParse>
    try {
      payload = rule.event.schema.safeParse(message.payload)
    } catch (error) {
      // A refinement or transformation of the schema may throw, and zod lets it.
      return flush(message.type, `the schema of ${message.type} threw: ${String(error)}`)
    }
    // Tags are shared, so what one query's mapping would have said may concern entries of any other.
    if (!payload.success) return flush(message.type, `the payload of ${message.type} does not fit its schema`)
    try {
      return { invalidate: rule.mappers.map((mapper) => mapper(payload.data as never)) }
    } catch (error) {
      return flush(message.type, `a mapping of ${message.type} threw: ${String(error)}`)
    }
  }

  #effectOfUnmapped(type: string): Effect {
    if (this.#known.has(type)) return { invalidate: [] }
    // A newer kernel's own removal: it may concern any cache.
    if (moduleOf(type) === kernelModule) return flush(type, `${type} is unknown here`)
    // A newer version of the service raised it. Only queries that listen to that module can depend on it,
    // so a rolling upgrade does not empty every cache with every event.
    const listeners = this.#listenersByModule.get(moduleOf(type))
    if (!listeners) return { invalidate: [] }
    const names = [...listeners].map(dependencyOn.cache)
    return { invalidate: [{ kind: 'supersede', names }], reason: `the event ${type} is unknown here` }
  }
}

/** Whose messages are the kernel's own. */
const kernelModule = 'cache'

function flush(type: string, reason: string): Effect {
  return { flush: moduleOf(type) === kernelModule ? 'remove' : 'supersede', reason }
}

function moduleOf(eventName: string): string {
  return eventName.slice(0, Math.max(0, eventName.indexOf('.')))
}
