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
import { eventsOf, type ServiceModule } from './module.js'
import { type Ambiguity, ambiguitiesIn, ambiguousIdsIn } from './spellings.js'

/** Its message lists all mistakes in the modules, so that one start shows every one. */
export class ModuleError extends Error {
  override readonly name = 'ModuleError'
}

export interface Registered<Declaration> {
  readonly declaration: Declaration
  readonly handler: object
}

/** Between the two steps of the registry there is no handler yet. */
interface Declared<Declaration> {
  readonly declaration: Declaration
  readonly handlerClass: AnyHandlerClass
  handler: object
}

/**
 * Finds the handler of each message by the message's class. A message with two handlers, and a dependency that the container
 * cannot provide, stop the start.
 */
export class HandlerRegistry {
  readonly #commands = new Map<CommandClass, Declared<CommandHandlerDeclaration>>()
  readonly #queries = new Map<QueryClass, Declared<QueryHandlerDeclaration>>()
  readonly #events = new Map<string, Declared<EventHandlerDeclaration>>()

  /**
   * Reads what the modules declare. The handlers do not exist yet: they may ask for the buses, which need the declarations.
   *
   * @throws ModuleError
   */
  constructor(modules: readonly ServiceModule[]) {
    const handlerClasses = modules.flatMap(({ handlers = [] }) => handlers)
    throwIfAny([
      ...repeated(modules.map(({ name }) => name)).map((name) => `Two modules are named ${name}`),
      ...handlerClasses.flatMap((handlerClass) => this.#declare(handlerClass)),
      // A query's name is also the name of its cache: two queries of one name would get each other's answers.
      ...repeated([...this.#queries.keys()].map(({ name }) => name)).map(
        (name) => `Two queries are named ${name}`,
      ),
      ...modules.flatMap(misnamedEvents),
      ...[...this.#queries.values()].flatMap(ambiguousQuery),
      ...modules.flatMap(eventsOf).flatMap(ambiguousEvent),
    ])
  }

  get commands(): ReadonlyMap<CommandClass, Registered<CommandHandlerDeclaration>> {
    return this.#commands
  }

  get queries(): ReadonlyMap<QueryClass, Registered<QueryHandlerDeclaration>> {
    return this.#queries
  }

  /** By the name of the handler. */
  get events(): ReadonlyMap<string, Registered<EventHandlerDeclaration>> {
    return this.#events
  }

  /**
   * Constructs the handlers.
   *
   * @throws ModuleError
   */
  construct(container: Container): void {
    const declared = [...this.#commands.values(), ...this.#queries.values(), ...this.#events.values()]
    throwIfAny(
      declared.flatMap((one) => {
        try {
          container.bind(one.handlerClass).toSelf().inSingletonScope()
          one.handler = container.get<object>(one.handlerClass)
          return []
        } catch (error) {
          return [`The container cannot construct ${one.handlerClass.name}: ${reasonOf(error as Error)}`]
        }
      }),
    )
  }

  #declare(handlerClass: AnyHandlerClass): string[] {
    let declaration: HandlerDeclaration
    try {
      declaration = declarationOf(handlerClass)
    } catch (error) {
      return [(error as Error).message]
    }
    const handler = notConstructed
    switch (declaration.kind) {
      case 'command':
        return addOnce(this.#commands, declaration.message, declaration.message.name, {
          declaration,
          handlerClass,
          handler,
        })
      case 'query':
        return addOnce(this.#queries, declaration.message, declaration.message.name, {
          declaration,
          handlerClass,
          handler,
        })
      case 'event':
        return addOnce(this.#events, declaration.name, `The event handler name "${declaration.name}"`, {
          declaration,
          handlerClass,
          handler,
        })
    }
  }
}

const notConstructed = {}

function throwIfAny(problems: readonly string[]): void {
  if (problems.length > 0) throw new ModuleError(problems.join('\n'))
}

function addOnce<Key, Value extends { readonly handlerClass: AnyHandlerClass }>(
  all: Map<Key, Value>,
  key: Key,
  what: string,
  value: Value,
): string[] {
  if (all.has(key)) return [`${what} has two handlers; one of them is ${value.handlerClass.name}`]
  all.set(key, value)
  return []
}

/** Inversify's own message proposes a compiler option that this project leaves out (docs/adr/0020). */
function reasonOf({ message }: Error): string {
  return message.includes('missing metadata')
    ? 'every parameter of its constructor needs @inject with the class that it asks for'
    : message
}

function repeated(names: readonly string[]): string[] {
  return names.filter((name, index) => names.indexOf(name) !== index)
}

function misnamedEvents(module: ServiceModule): string[] {
  return eventsOf(module)
    .filter(({ eventName }) => !eventName.startsWith(`${module.name}.`))
    .map(
      ({ eventName }) =>
        `The event ${eventName} of the module ${module.name} must be named "${module.name}.…"`,
    )
}

/** Every value must have one spelling in the keys of queries and in events, or an event would not reach its entry. */
function ambiguousQuery({
  declaration: { message, caching },
}: Registered<QueryHandlerDeclaration>): string[] {
  if (!caching) return []
  const distinct = new Set<string>(caching.distinctSpellings)
  return ambiguitiesIn(message.schema)
    .filter(({ path }) => !distinct.has(path.split(/[.[]/)[0] ?? ''))
    .map((ambiguity) => `The cached query ${message.name} ${keptApart(ambiguity)}`)
}

function ambiguousEvent({ eventName, schema }: DomainEventClass): string[] {
  return ambiguousIdsIn(schema).map((ambiguity) => `The event ${eventName} ${keptApart(ambiguity)}`)
}

function keptApart({ path, form, spellings: [one, other], cure }: Ambiguity): string {
  return (
    `keeps "${one}" and "${other}" apart in its field ${path}, although they are the same ${form}. One thing would have two ` +
    `keys, and an event would invalidate only one of them. To normalise the field, ${cure} (docs/hybrid-cache.md#keys)`
  )
}
