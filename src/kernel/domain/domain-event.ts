import type { z } from 'zod'

/** Something that happened to an aggregate, in the past tense, with a payload that survives JSON. */
export interface DomainEvent<Payload = unknown> {
  readonly payload: Payload
}

/** Any event class. */
export interface DomainEventClass {
  /** `module.what-happened`: stored with every event, so renaming it orphans the stored ones. */
  readonly eventName: string
  readonly schema: z.ZodObject
  new (payload: never): DomainEvent
}

interface DomainEventClassOf<Schema extends z.ZodObject> {
  readonly eventName: string
  readonly schema: Schema
  new (payload: z.input<Schema>): DomainEvent<z.output<Schema>>
}

export type PayloadOf<Event extends DomainEventClass> = z.output<Event['schema']>

const eventNamePattern = /^[a-z][a-z0-9-]*\.[a-z][a-z0-9-]*$/

/**
 * The base class of one kind of event.
 *
 * ```ts
 * export class UserRenamed extends domainEvent('users.user-renamed', z.object({ userId: Uuid })) {}
 * ```
 *
 * The part before the dot names the module. A node that meets an event that it does not know flushes
 * only the cached queries that listen to events of the same module, so the prefix matters.
 *
 * @throws TypeError if the name is not `module.what-happened`, or, when an event is raised, if its payload
 *   does not fit the schema: a payload that no reader can parse must not get as far as the outbox.
 */
export function domainEvent<Schema extends z.ZodObject>(
  eventName: string,
  schema: Schema,
): DomainEventClassOf<Schema> {
  if (!eventNamePattern.test(eventName)) {
    throw new TypeError(`An event is named "module.what-happened", not "${eventName}"`)
  }
  return class implements DomainEvent<z.output<Schema>> {
    static readonly eventName = eventName
    static readonly schema = schema
    readonly payload: z.output<Schema>

    constructor(payload: z.input<Schema>) {
      const parsed = schema.safeParse(payload)
      if (!parsed.success) throw new TypeError(`${eventName}: ${parsed.error.message}`)
      // What is stored is read with the same schema: a Date, or a text that became a number, would not fit it
      // any more, and every node would flush its caches at every such event.
      const reread = schema.safeParse(JSON.parse(JSON.stringify(parsed.data)))
      if (!reread.success) throw new TypeError(`${eventName} does not survive JSON: ${reread.error.message}`)
      this.payload = parsed.data
    }
  }
}

/** The name under which an event is stored. */
export function nameOf(event: DomainEvent): string {
  return (event.constructor as unknown as DomainEventClass).eventName
}
