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

/** Its message lists all mistakes in the modules, so that one start shows every one. */
export class ModuleError extends Error {
  override readonly name = 'ModuleError'
}

export interface Registered<Declaration> {
  readonly declaration: Declaration
  readonly handler: object
}

/**
 * Finds the handler of each message by the message's class. It is built once, at start. A message without a handler or
 * with two, and a dependency that the container cannot provide, stop the start.
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
      this.#problems.push(`The container cannot construct ${handlerClass.name}: ${(error as Error).message}`)
      return
    }
    const doubled = this.#add(declaration, handler)
    if (doubled) this.#problems.push(`${doubled} has two handlers; one of them is ${handlerClass.name}`)
  }

  /** @returns the name of the message if it has a handler already, else undefined */
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

  /** A query's name is also the name of its cache: two queries of one name would get each other's answers. */
  #checkNames(names: readonly string[]): void {
    for (const name of names.filter((name, index) => names.indexOf(name) !== index)) {
      this.#problems.push(`Two queries are named ${name}`)
    }
  }

  /** Every value must have one spelling in the keys of queries and in events, or an event would not reach its entry. */
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
    `keeps "${one}" and "${other}" apart in its field ${path}, although they are the same ${form}. One thing would have two ` +
    `keys, and an event would invalidate only one of them. To normalise the field, ${cure} (docs/hybrid-cache.md#keys)`
  )
}
