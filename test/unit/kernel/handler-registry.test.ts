import 'reflect-metadata'
import { describe, expect, test } from '@jest/globals'
import { Container } from 'inversify'
import { z } from 'zod'
import { HandlerRegistry, ModuleError } from '../../../src/kernel/cqrs/handler-registry.js'
import { commandHandler, eventHandler, queryHandler } from '../../../src/kernel/cqrs/handlers.js'
import { command, query } from '../../../src/kernel/cqrs/message.js'
import type { ServiceModule } from '../../../src/kernel/cqrs/module.js'
import { domainEvent } from '../../../src/kernel/domain/index.js'

class Ship extends command(z.strictObject({ id: z.string() })).returning<void>() {}
class Cancel extends command(z.strictObject({ id: z.string() })).returning<void>() {}
class GetOrder extends query(z.strictObject({ id: z.string() })).returning<string>() {}
class Shipped extends domainEvent('orders.shipped', z.object({ id: z.string() })) {}
class Foreign extends domainEvent('stock.moved', z.object({ id: z.string() })) {}

@commandHandler(Ship)
class ShipHandler {
  async execute(): Promise<void> {}
}
@commandHandler(Ship)
class SecondShipHandler {
  async execute(): Promise<void> {}
}
@queryHandler(GetOrder)
class GetOrderHandler {
  async execute(): Promise<string> {
    return ''
  }
}
@eventHandler('orders.tell', Shipped)
class TellHandler {
  async handle(): Promise<void> {}
}
@eventHandler('orders.tell', Shipped)
class SecondTellHandler {
  async handle(): Promise<void> {}
}
class Undeclared {
  async execute(): Promise<void> {}
}

function module(parts: Partial<ServiceModule>): ServiceModule {
  return {
    name: 'orders',
    commands: [],
    queries: [],
    events: [],
    handlers: [],
    routes: () => async () => {},
    ...parts,
  }
}

function problemsOf(...modules: ServiceModule[]): string[] {
  try {
    new HandlerRegistry(modules, new Container())
  } catch (error) {
    expect(error).toBeInstanceOf(ModuleError)
    return (error as Error).message.split('\n')
  }
  return []
}

describe('the handler registry', () => {
  test('finds each message’s handler by the message’s class', () => {
    const registry = new HandlerRegistry(
      [
        module({
          commands: [Ship],
          queries: [GetOrder],
          events: [Shipped],
          handlers: [ShipHandler, GetOrderHandler, TellHandler],
        }),
      ],
      new Container(),
    )
    expect(registry.commands.get(Ship)?.handler).toBeInstanceOf(ShipHandler)
    expect(registry.queries.get(GetOrder)?.handler).toBeInstanceOf(GetOrderHandler)
    expect(registry.events.get('orders.tell')?.handler).toBeInstanceOf(TellHandler)
  })

  test('an offered command without a handler is an error at start', () => {
    expect(problemsOf(module({ commands: [Cancel] }))).toEqual([
      expect.stringContaining('Cancel has no handler'),
    ])
  })

  test('a second handler is an error at start, in another module too', () => {
    expect(
      problemsOf(
        module({ commands: [Ship], handlers: [ShipHandler] }),
        module({ name: 'other', handlers: [SecondShipHandler] }),
      ),
    ).toEqual([expect.stringContaining('Ship has two handlers')])
  })

  test('two event handlers of one name are an error at start: they would share one cursor', () => {
    expect(problemsOf(module({ handlers: [TellHandler, SecondTellHandler] }))).toEqual([
      expect.stringContaining('orders.tell'),
    ])
  })

  test('an event outside its module’s name is an error at start', () => {
    expect(problemsOf(module({ events: [Foreign] }))).toEqual([expect.stringContaining('stock.moved')])
  })

  test('two queries of one name are an error at start: they would answer each other’s questions', () => {
    const Twin = (() => {
      class GetOrder extends query(z.strictObject({ id: z.string() })).returning<string>() {}
      return GetOrder
    })()
    @queryHandler(Twin)
    class TwinHandler {
      async execute(): Promise<string> {
        return ''
      }
    }
    expect(
      problemsOf(module({ queries: [GetOrder, Twin], handlers: [GetOrderHandler, TwinHandler] })),
    ).toEqual(['Two queries are named GetOrder'])
  })

  test('one start shows every mistake', () => {
    const problems = problemsOf(
      module({
        commands: [Ship, Cancel],
        queries: [GetOrder],
        events: [Foreign],
        handlers: [ShipHandler, SecondShipHandler],
      }),
    )
    expect(problems).toHaveLength(4)
  })

  test('a class without a decorator is an error at start', () => {
    expect(() => new HandlerRegistry([module({ handlers: [Undeclared] })], new Container())).toThrow(
      'Undeclared has no @commandHandler, @queryHandler or @eventHandler',
    )
  })

  test('a dependency that nobody provides is an error at start', () => {
    class Missing {}
    @commandHandler(Cancel)
    class NeedyHandler {
      constructor(readonly missing: Missing) {}
      async execute(): Promise<void> {}
    }
    expect(
      () =>
        new HandlerRegistry(
          [module({ commands: [Cancel], handlers: [NeedyHandler] })],
          new Container({ defaultScope: 'Singleton' }),
        ),
    ).toThrow()
  })
})
