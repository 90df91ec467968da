import type { FastifyPluginAsync } from 'fastify'
import type { ContainerModule } from 'inversify'
import type { CacheDeclaration } from '../cache/caches.js'
import type { DomainEventClass } from '../domain/domain-event.js'
import type { RouteSurroundings } from '../http/route-surroundings.js'
import type { AnyHandlerClass } from './handlers.js'
import type { CommandClass, QueryClass } from './message.js'

/** One business module, as the composition root sees it. */
export interface ServiceModule {
  readonly name: string
  /** Commands and queries that the module offers; each needs exactly one handler. */
  readonly commands: readonly CommandClass[]
  readonly queries: readonly QueryClass[]
  /** Every event that it raises, also those that nobody listens to yet. */
  readonly events: readonly DomainEventClass[]
  /** Classes with `@commandHandler`, `@queryHandler` or `@eventHandler`. */
  readonly handlers: readonly AnyHandlerClass[]
  /** Its caches by name, beside those of its queries. Handlers have `Caches` injected, and ask for one by `of`. */
  readonly caches?: readonly CacheDeclaration<unknown, never>[]
  readonly routes: (surroundings: RouteSurroundings) => FastifyPluginAsync
  /** Further bindings for its handlers' constructors. */
  readonly bindings?: ContainerModule
}
