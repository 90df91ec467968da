import type { DomainEventClass, PayloadOf } from '../domain/domain-event.js'
import type { JournalMessage } from './journal.js'

/** What an event makes stale: keys of the query that declares the mapping, and tags, which all queries share. */
export interface Invalidation {
  readonly keys?: readonly string[]
  readonly tags?: readonly string[]
}

/** An event and what it makes stale. `on` creates it and gives the mapping's argument the type of the event's payload. */
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

/** Whether Postgres can store the name: it refuses NUL and half a surrogate pair, so no event could remove such a name. */
export function isText(name: string): boolean {
  return name.isWellFormed() && !name.includes('\0')
}

/** @throws TypeError if no event can carry the tag */
export function assertTag(tag: string): void {
  if (typeof tag !== 'string' || !isText(tag)) {
    throw new TypeError(
      `A tag is text without NUL and without half a surrogate pair, unlike ${JSON.stringify(tag)}`,
    )
  }
}

/**
 * The names in the table of last invalidations. Two different things never have the same name, because the name of a cache
 * contains no colon.
 */
export const dependencyOn = {
  key: (cache: string, key: string): string => `k:${cache}:${key}`,
  /** @throws TypeError if no event can carry the tag */
  tag: (tag: string): string => {
    assertTag(tag)
    return `t:${tag}`
  },
  cache: (cache: string): string => `c:${cache}`,
  /** Invalidated with each key of the cache. A value that depends on too many keys depends on this name instead. */
  anyKey: (cache: string): string => `K:${cache}`,
  /** Invalidated with each tag. */
  anyTag: 'T',
  /** The `anyKey` of the cache to which a key belongs; undefined if the name is not that of a key. */
  anyKeyLike: (name: string): string | undefined =>
    isOfKey(name) ? dependencyOn.anyKey(name.slice(2, name.indexOf(':', 2))) : undefined,
  isTag: (name: string): boolean => name.startsWith('t:'),
}

/**
 * The names of keys of one cache and of tags, with `anyKey` and `anyTag` where they apply.
 *
 * @param anyKey a caller who needs it for each event can make it once
 */
export function namesOf(
  cache: string,
  keys: readonly string[],
  tags: readonly string[],
  anyKey = dependencyOn.anyKey(cache),
): string[] {
  const ofTags = namesOfTags(tags)
  if (keys.length === 0) return ofTags
  // Created with its final length: a growing array gets room for 16 more elements, which is noticeable at each event.
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

/** Whether a name is that of a key. */
export function isOfKey(name: string): boolean {
  return name.startsWith('k:')
}

/**
 * What happens to a value: a committed write makes it outdated (`supersede`), its time to live ends (`expire`), or it must
 * not be used any more (`remove`). The three differ in what fail-safe may still do with it.
 */
export type InvalidationKind = 'supersede' | 'expire' | 'remove'

/** What an event makes stale, and in which way. */
export interface Invalidating {
  readonly kind: InvalidationKind
  readonly names: readonly string[] | 'all'
}

/**
 * What a message does on this node: it invalidates names or, if the node cannot read it, flushes everything. A message that
 * may have been a removal flushes with `remove`.
 */
export type Effect =
  | {
      readonly invalidate: readonly Invalidating[]
      /** Why more is invalidated than the event says. */
      readonly reason?: string
      /** Why nothing is invalidated, although the event is unknown. */
      readonly ignored?: string
    }
  | { readonly flush: 'supersede' | 'remove'; readonly reason: string }

type Mapper = (payload: never) => Invalidating

interface Rule {
  readonly event: DomainEventClass
  readonly mappers: Mapper[]
}

/**
 * What events make stale, by this version of the service. Each node uses its own rules, so two versions can run side by
 * side, and each invalidates what its own queries depend on.
 */
export class InvalidationRules {
  readonly #rules = new Map<string, Rule>()
  readonly #listenersByModule = new Map<string, Set<string>>()
  readonly #known = new Set<string>()
  readonly #modules = new Set<string>()

  /** @param events every event of every module, including those without a listener */
  constructor(events: readonly DomainEventClass[] = []) {
    for (const event of events) this.#know(event)
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
    this.#know(event)
    const rule = this.#rules.get(event.eventName) ?? { event, mappers: [] }
    rule.mappers.push(mapper)
    this.#rules.set(event.eventName, rule)
  }

  /** Never throws. A message that this node does not understand flushes all that it may have made stale. */
  effectOf(message: JournalMessage): Effect {
    const rule = this.#rules.get(message.type)
    if (!rule) return this.#effectOfUnmapped(message.type)
    let payload: ReturnType<typeof rule.event.schema.safeParse>
    try {
      payload = rule.event.schema.safeParse(message.payload)
    } catch (error) {
      // A refinement or transformation of the schema may throw, and zod does not catch that.
      return flush(message.type, `the schema of ${message.type} threw: ${String(error)}`)
    }
    // All queries share the tags, so the mapping of one query could have made entries of any other stale.
    if (!payload.success) return flush(message.type, `the payload of ${message.type} does not fit its schema`)
    try {
      return { invalidate: rule.mappers.map((mapper) => mapper(payload.data as never)) }
    } catch (error) {
      return flush(message.type, `a mapping of ${message.type} threw: ${String(error)}`)
    }
  }

  #effectOfUnmapped(type: string): Effect {
    if (this.#known.has(type)) return { invalidate: [] }
    // It may be a removal of a newer kernel, in any cache.
    if (moduleOf(type) === kernelModule) return flush(type, `${type} is unknown here`)
    // A newer version of the service raised it. Only queries that listen to its module can depend on it. So the other caches
    // keep their entries during a rolling upgrade.
    const module = moduleOf(type)
    const listeners = this.#listenersByModule.get(module)
    if (listeners) {
      const names = [...listeners].map(dependencyOn.cache)
      return { invalidate: [{ kind: 'supersede', names }], reason: `the event ${type} is unknown here` }
    }
    // It cannot be refused: a newer version of the service may have a module that this one has not.
    const event = `the event ${type.slice(0, 100)}`
    return {
      invalidate: [],
      ignored: this.#modules.has(module)
        ? `${event} is unknown here, and no cache listens to its module`
        : `${event} is of no module here; the modules are ${[...this.#modules].sort().join(', ')}`,
    }
  }

  #know({ eventName }: DomainEventClass): void {
    this.#known.add(eventName)
    if (moduleOf(eventName) !== kernelModule) this.#modules.add(moduleOf(eventName))
  }
}

/** The module of the kernel's own messages. */
const kernelModule = 'cache'

function flush(type: string, reason: string): Effect {
  return { flush: moduleOf(type) === kernelModule ? 'remove' : 'supersede', reason }
}

function moduleOf(eventName: string): string {
  return eventName.slice(0, Math.max(0, eventName.indexOf('.')))
}
