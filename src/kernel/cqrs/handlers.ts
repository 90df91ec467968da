import { injectable } from 'inversify'
import type { DomainEventClass, PayloadOf } from '../domain/domain-event.js'
import type { CachingDeclaration } from './caching.js'
import type { CommandClass, QueryClass, ResultOf } from './message.js'

export interface CommandHandler<Command> {
  /** Runs in a transaction that commits when the promise resolves. May run again after a conflict. */
  execute(command: Command): Promise<ResultOf<Command>>
}

export interface QueryHandler<Query> {
  execute(query: Query): Promise<ResultOf<Query>>
}

export interface EventHandler<Event extends DomainEventClass> {
  /**
   * Runs after commit, in a transaction that also marks the event as handled: what it writes to Postgres happens
   * once, what it does elsewhere at least once. Quick ones share a transaction with their neighbours, each in a
   * savepoint: rows that it writes may stay locked for a tenth of a second after it.
   */
  handle(payload: PayloadOf<Event>, event: EventContext): Promise<void>
}

export interface EventContext {
  /** The event's position in the journal: a stable identity, also as an idempotency key for the outside. */
  readonly position: number
  /** 1 for the first attempt. */
  readonly attempt: number
}

// The arguments of a constructor are the container's business.
// biome-ignore lint/suspicious/noExplicitAny: a class with any constructor can only be written so
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
  /** Identifies the handler in the database: renaming it makes it a new handler. */
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

/** Marks the class that handles a command. One that takes or returns something else does not compile. */
export function commandHandler<Command extends CommandClass>(message: Command) {
  return (handler: HandlerClass<CommandHandler<InstanceType<Command>>>): void =>
    declare(handler, { kind: 'command', message })
}

/**
 * Marks the class that answers a query. With a caching declaration, its answers are cached, and the
 * declaration says what makes them stale.
 */
export function queryHandler<Query extends QueryClass>(message: Query, caching?: CachingDeclaration<Query>) {
  return (handler: HandlerClass<QueryHandler<InstanceType<Query>>>): void =>
    declare(handler, {
      kind: 'query',
      message,
      caching: caching as CachingDeclaration<QueryClass> | undefined,
    })
}

/** Marks a class that reacts to an event after it is committed. */
export function eventHandler<Event extends DomainEventClass>(name: string, event: Event) {
  return (handler: HandlerClass<EventHandler<Event>>): void =>
    declare(handler, { kind: 'event', name, event })
}
