import { command } from '../../src/kernel/cqrs/message.js'
import { domainEvent, z } from '../../src/kernel/domain/index.js'
import { type EventMapping, on } from '../../src/kernel/journal/invalidation-rules.js'

export const cacheName = 'thing'

/** Somebody wrote a row. The event says itself what it makes stale; `operation` is for the judge. */
const payload = z.object({
  operation: z.string(),
  keys: z.array(z.string()).optional(),
  tags: z.array(z.string()).optional(),
})

export class ThingChanged extends domainEvent('thing.changed', payload) {}

/** No query declares it: a value that was absent before it must not have been kept. */
export class ThingCreated extends domainEvent('thing.created', payload) {}

/** The same event as a newer version of the service writes it: its payload fits no schema here. */
export class NewerThingChanged extends domainEvent(
  'thing.changed',
  z.object({ operation: z.string(), keys: z.number() }),
) {}

/** Its mapping throws. */
export class ThingBroken extends domainEvent('thing.broken', z.object({ operation: z.string() })) {}

/** An event that only a newer version of the service knows. */
export class ThingRenamed extends domainEvent('thing.renamed', z.object({ operation: z.string() })) {}

export const mappings: readonly EventMapping[] = [
  on(ThingChanged, ({ keys = [], tags = [] }) => ({ keys, tags })),
  on(ThingBroken, () => {
    throw new Error('a mapping that throws')
  }),
]

/** A command whose handler does what the scenario says. */
export class Perform extends command(z.object({ work: z.custom<() => Promise<void>>() })).returning<void>() {}

export const tagOf = (key: string): string => `tag of ${key}`
