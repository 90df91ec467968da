import { injectable } from 'inversify'
import type { DomainEventClass, PayloadOf } from '../domain/domain-event.js'
import type { CachingDeclaration } from './caching.js'
import type { CommandClass, QueryClass, ResultOf } from './message.js'

export interface CommandHandler<Command> {
  /** Runs in a transaction that commits when the promise resolves. It may run again after a conflict. */
  execute(command: Command): Promise<ResultOf<Command>>
}

export interface QueryHandler<Query> {
  execute(query: Query): Promise<ResultOf<Query>>
}

export interface EventHandler<Event extends DomainEventClass> {
  /**
   * Runs after commit, in a transaction that also marks the event as handled. What it writes to Postgres therefore happens
   * once, and what it does elsewhere happens at least once. Several events that are handled quickly share a transaction,
   * each in a savepoint. Rows that it writes may stay locked for a tenth of a second after it has returned.
   */
  handle(payload: PayloadOf<Event>, event: EventContext): Promise<void>
}

export interface EventContext {
  /** The event's position in the journal. It never changes, so it can serve as an idempotency key for other services. */
  readonly position: number
  /** 1 for the first attempt. */
  readonly attempt: number
}

// biome-ignore lint/suspicious/noExplicitAny: TypeScript has no other type for a class with any constructor
export type HandlerClass<Handler> = new (...dependencies: any[]) => Handler

export type AnyHandlerClass = HandlerClass<object>

export interface CommandHandlerDeclaration {
  readonly kind: 'command'
  readonly message: CommandClass
}
export interface QueryHandlerDeclaration {
  readonly kind: 'query'
  readonly message: QueryClass
  readonly caching: CachingDeclaration<QueryClass> | undefined
}
export interface EventHandlerDeclaration {
  readonly kind: 'event'
  /** Identifies the handler in the database: under a new name it is a new handler. */
  readonly name: string
  readonly event: DomainEventClass
}
export type HandlerDeclaration = CommandHandlerDeclaration | QueryHandlerDeclaration | EventHandlerDeclaration

const declarations = new WeakMap<AnyHandlerClass, HandlerDeclaration>()

function declare(handler: AnyHandlerClass, declaration: HandlerDeclaration): void {
  injectable()(handler)
  declarations.set(handler, declaration)
}

/** @throws TypeError if the class has none of the decorators below */
export function declarationOf(handler: AnyHandlerClass): HandlerDeclaration {
  const declaration = declarations.get(handler)
  if (!declaration) {
    throw new TypeError(`${handler.name} has no @commandHandler, @queryHandler or @eventHandler`)
  }
  return declaration
}

/** Marks the class that handles a command. A class that takes or returns something else does not compile. */
export function commandHandler<Command extends CommandClass>(message: Command) {
  return (handler: HandlerClass<CommandHandler<InstanceType<Command>>>): void =>
    declare(handler, { kind: 'command', message })
}

/**
 * Marks the class that answers a query. With a caching declaration its answers are cached.
 */
export function queryHandler<Query extends QueryClass>(message: Query, caching?: CachingDeclaration<Query>) {
  return (handler: HandlerClass<QueryHandler<InstanceType<Query>>>): void =>
    declare(handler, {
      kind: 'query',
      message,
      caching: caching as CachingDeclaration<QueryClass> | undefined,
    })
}

/** Marks a class that handles an event after it was committed. */
export function eventHandler<Event extends DomainEventClass>(name: string, event: Event) {
  return (handler: HandlerClass<EventHandler<Event>>): void =>
    declare(handler, { kind: 'event', name, event })
}
