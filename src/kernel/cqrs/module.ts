import type { FastifyPluginAsync } from 'fastify'
import type { ContainerModule } from 'inversify'
import type { CacheDeclaration } from '../cache/caches.js'
import type { DomainEventClass } from '../domain/domain-event.js'
import type { SettingsClass } from '../settings.js'
import type { AnyHandlerClass, HandlerClass } from './handlers.js'
import type { Bus } from './message.js'
import type { ModuleService } from './module-services.js'

/** Everything that one business module adds to the service. `src/modules/index.ts` lists the modules. */
export interface ServiceModule {
  /** The part before the dot in the names of its events. */
  readonly name: string
  /** Classes with `@Entity`. Their tables are made by migrations. */
  readonly entities?: readonly EntityClass[]
  /** Every event that the module raises: the namespace of its events file (`import * as userEvents`), or a list. */
  readonly events?: object
  /** Classes with `@commandHandler`, `@queryHandler` or `@eventHandler`. They also say which commands and queries there are. */
  readonly handlers?: readonly AnyHandlerClass[]
  /** Its caches by name, beside those of its queries. Handlers have `Caches` injected, and ask for one by `of`. */
  readonly caches?: readonly CacheDeclaration<unknown, never>[]
  readonly routes?: (context: RouteContext) => FastifyPluginAsync
  /** Environment variables of its own. They are read and checked with all others, and injected by their class. */
  readonly settings?: readonly SettingsClass[]
  /** What has to be started before the node serves, and stopped with it, such as the client of a message broker. */
  readonly services?: readonly HandlerClass<ModuleService>[]
  /** Further bindings for the constructors of handlers and services. */
  readonly bindings?: ContainerModule
}

/** What the routes of a module are given. */
export interface RouteContext {
  readonly commandBus: Bus<'command'>
  readonly queryBus: Bus<'query'>
}

export type EntityClass = abstract new (...values: never[]) => object

/** The event classes among the exports of an events file. */
export function eventsOf({ events = {} }: Pick<ServiceModule, 'events'>): readonly DomainEventClass[] {
  return Object.values(events).filter(isEventClass)
}

function isEventClass(value: unknown): value is DomainEventClass {
  return typeof value === 'function' && 'eventName' in value && 'schema' in value
}
