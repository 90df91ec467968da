import type { FastifyPluginAsync } from 'fastify'
import type { ContainerModule } from 'inversify'
import type { CacheDeclaration } from '../cache/caches.js'
import type { DomainEventClass } from '../domain/domain-event.js'
import type { RouteSurroundings } from '../http/route-surroundings.js'
import type { AnyHandlerClass } from './handlers.js'
import type { CommandClass, QueryClass } from './message.js'

/** What a business module tells the composition root about itself. */
export interface ServiceModule {
  readonly name: string
  /** Commands and queries that the module offers; each needs exactly one handler. */
  readonly commands: readonly CommandClass[]
  readonly queries: readonly QueryClass[]
  /** Every event that it raises, including those without a listener. */
  readonly events: readonly DomainEventClass[]
  /** Classes with `@commandHandler`, `@queryHandler` or `@eventHandler`. */
  readonly handlers: readonly AnyHandlerClass[]
  /** Its caches, apart from those of its queries. Handlers get them from the injected `Caches` by its method `of`. */
  readonly caches?: readonly CacheDeclaration<unknown, never>[]
  readonly routes: (surroundings: RouteSurroundings) => FastifyPluginAsync
  /** Further bindings for its handlers' constructors. */
  readonly bindings?: ContainerModule
}
