import type { Container } from 'inversify'
import type { DomainEventClass } from '../domain/domain-event.js'
import {
  type AnyHandlerClass,
  type CommandHandlerDeclaration,
  declarationOf,
  type EventHandlerDeclaration,
  type HandlerDeclaration,
  type QueryHandlerDeclaration,
} from './handlers.js'
import type { CommandClass, QueryClass } from './message.js'
import type { ServiceModule } from './module.js'
import { type Ambiguity, ambiguitiesIn, ambiguousIdsIn } from './spellings.js'

/** What is wrong with the modules, all of it, so that one start shows every mistake. */
export class ModuleError extends Error {
  override readonly name = 'ModuleError'
}

export interface Registered<Declaration> {
  readonly declaration: Declaration
  readonly handler: object
}

/**
 * Finds each message's handler by the message's class. Built once at start, when a missing or a second
 * handler, and a dependency that the container cannot provide, are errors.
 */
export class HandlerRegistry {
  readonly commands = new Map<CommandClass, Registered<CommandHandlerDeclaration>>()
  readonly queries = new Map<QueryClass, Registered<QueryHandlerDeclaration>>()
  readonly events = new Map<string, Registered<EventHandlerDeclaration>>()
  readonly #problems: string[] = []

  /** @throws ModuleError */
  constructor(modules: readonly ServiceModule[], container: Container) {
    for (const handlerClass of modules.flatMap((module) => module.handlers))
      this.#register(handlerClass, container)
    for (const module of modules) this.#checkOffer(module)
    this.#checkNames([...this.queries.keys()].map((query) => query.name))
    this.#checkSpellings(modules.flatMap(({ events }) => events))
    if (this.#problems.length > 0) throw new ModuleError(this.#problems.join('\n'))
  }

  #register(handlerClass: AnyHandlerClass, container: Container): void {
    container.bind(handlerClass).toSelf().inSingletonScope()
    const declaration = declarationOf(handlerClass)
    let handler: object
    try {
      handler = container.get<object>(handlerClass)
    } catch (error) {
      this.#problems.push(`${handlerClass.name} cannot be made: ${(error as Error).message}`)
      return
    }
    const doubled = this.#add(declaration, handler)
    if (doubled) this.#problems.push(`${doubled} has two handlers; one of them is ${handlerClass.name}`)
  }

  /** @returns the name of what had a handler before */
  #add(declaration: HandlerDeclaration, handler: object): string | undefined {
    switch (declaration.kind) {
      case 'command':
        if (this.commands.has(declaration.message)) return declaration.message.name
        this.commands.set(declaration.message, { declaration, handler })
        return undefined
      case 'query':
        if (this.queries.has(declaration.message)) return declaration.message.name
        this.queries.set(declaration.message, { declaration, handler })
        return undefined
      case 'event':
        if (this.events.has(declaration.name)) return `The event handler name "${declaration.name}"`
        this.events.set(declaration.name, { declaration, handler })
        return undefined
    }
  }

  #checkOffer(module: ServiceModule): void {
    for (const command of module.commands) {
      if (!this.commands.has(command)) {
        this.#problems.push(
          `${command.name} has no handler: the module ${module.name} lists no class with @commandHandler(${command.name})`,
        )
      }
    }
    for (const query of module.queries) {
      if (!this.queries.has(query)) {
        this.#problems.push(
          `${query.name} has no handler: the module ${module.name} lists no class with @queryHandler(${query.name})`,
        )
      }
    }
    for (const event of module.events) {
      if (!event.eventName.startsWith(`${module.name}.`)) {
        this.#problems.push(
          `The event ${event.eventName} of the module ${module.name} must be named "${module.name}.…"`,
        )
      }
    }
  }

  /** A query's name is its cache's name: two of one name would answer each other's questions. */
  #checkNames(names: readonly string[]): void {
    for (const name of names.filter((name, index) => names.indexOf(name) !== index)) {
      this.#problems.push(`Two queries are named ${name}`)
    }
  }

  /** What is one value to the database must make one key, and an event must name that one. */
  #checkSpellings(events: readonly DomainEventClass[]): void {
    for (const [query, { declaration }] of this.queries) {
      const { caching } = declaration
      if (!caching) continue
      const distinct = new Set<string>(caching.distinctSpellings)
      for (const ambiguity of ambiguitiesIn(query.schema)) {
        const [field = ''] = ambiguity.path.split(/[.[]/)
        if (!distinct.has(field))
          this.#problems.push(`The cached query ${query.name} ${keptApart(ambiguity)}`)
      }
    }
    for (const event of events) {
      for (const ambiguity of ambiguousIdsIn(event.schema)) {
        this.#problems.push(`The event ${event.eventName} ${keptApart(ambiguity)}`)
      }
    }
  }
}

function keptApart({ path, form, spellings: [one, other], cure }: Ambiguity): string {
  return (
    `keeps "${one}" and "${other}" apart in its field ${path}, though they are one ${form}: there would be two keys for ` +
    `one thing, and an event would invalidate one of them. To normalise the field, ${cure} (docs/hybrid-cache.md#keys)`
  )
}
