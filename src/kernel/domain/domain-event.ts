import type { z } from 'zod'

/** Something that happened to an aggregate. Its payload survives JSON. */
export interface DomainEvent<Payload = unknown> {
  readonly payload: Payload
}

/** Any event class. */
export interface DomainEventClass {
  /** `module.what-happened`. It is stored with every event: after it was renamed, stored events are unknown. */
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
 * ```ts from test/samples/products.ts#ProductRemoved
 * export class ProductRemoved extends domainEvent('products.product-removed', z.object({ sku: Slug })) {}
 * ```
 *
 * The part before the dot is the name of the module. For an event that a node does not know, it invalidates only the cached
 * queries that listen to events of the same module.
 *
 * @throws TypeError if the name is not `module.what-happened`. The constructor of an event throws one if the payload does
 *   not fit the schema, because no reader could parse it from the outbox.
 */
export function domainEvent<Schema extends z.ZodObject>(
  eventName: string,
  schema: Schema,
): DomainEventClassOf<Schema> {
  if (!eventNamePattern.test(eventName)) {
    throw new TypeError(`The name of an event has the form "module.what-happened", unlike "${eventName}"`)
  }
  return class implements DomainEvent<z.output<Schema>> {
    static readonly eventName = eventName
    static readonly schema = schema
    readonly payload: z.output<Schema>

    constructor(payload: z.input<Schema>) {
      const parsed = schema.safeParse(payload)
      if (!parsed.success) throw new TypeError(`${eventName}: ${parsed.error.message}`)
      // Nodes read the stored payload with the same schema. A Date, or a text that the schema turns into a number, would no
      // longer fit it, and every such event would make every node flush its caches.
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
