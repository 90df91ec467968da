import { z } from 'zod'
import { type DomainEvent, domainEvent } from '../domain/domain-event.js'
import { dependencyOn, type InvalidationRules, namesOf, namesOfTags } from '../journal/invalidation-rules.js'

/**
 * A removal asked for by code rather than implied by a domain event. It takes the same way through the
 * outbox: on the wire alone it would be lost with a connection, and would not wait for the commit.
 */
export class CacheInvalidated extends domainEvent(
  'cache.invalidated',
  z.object({
    /** The cache of the keys, or the one to be emptied. Absent, and without tags: all caches. */
    cache: z.string().optional(),
    keys: z.array(z.string()).optional(),
    tags: z.array(z.string()).optional(),
    all: z.boolean().optional(),
    /**
     * `expire` keeps what there is for fail-safe. Absent: `remove`, which does not. `supersede`: there is something
     * newer, as after a `set`.
     */
    mode: z.enum(['remove', 'expire', 'supersede']).optional(),
    /** By which the node that sets a value recognises the message that goes with it. */
    setId: z.string().optional(),
  }),
) {}

export function declareCacheInvalidated(rules: InvalidationRules): void {
  rules.add(CacheInvalidated, ({ cache, keys = [], tags = [], all, mode: kind = 'remove' }) => {
    if (cache === undefined) return { kind, names: tags.length > 0 ? namesOfTags(tags) : 'all' }
    return { kind, names: [...namesOf(cache, keys, tags), ...(all ? [dependencyOn.cache(cache)] : [])] }
  })
}

/** Where invalidations go that no aggregate raised. */
export interface InvalidationWriter {
  /** Writes to the outbox: in the running unit of work, or in one of its own, which is dispatched at once. */
  write(events: readonly DomainEvent[]): Promise<void>
}
