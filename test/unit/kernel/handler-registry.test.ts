import 'reflect-metadata'
import { describe, expect, test } from '@jest/globals'
import { Container, inject } from 'inversify'
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

const ships = z.strictObject({ id: z.string() })

function module(parts: Partial<ServiceModule>): ServiceModule {
  return { name: 'orders', ...parts }
}

function problemsOf(...modules: ServiceModule[]): string[] {
  try {
    new HandlerRegistry(modules).construct(new Container())
  } catch (error) {
    expect(error).toBeInstanceOf(ModuleError)
    return (error as Error).message.split('\n')
  }
  return []
}

describe('the handler registry', () => {
  test('finds each message’s handler by the message’s class', () => {
    const registry = new HandlerRegistry([
      module({ events: [Shipped], handlers: [ShipHandler, GetOrderHandler, TellHandler] }),
    ])
    registry.construct(new Container())
    expect(registry.commands.get(Ship)?.handler).toBeInstanceOf(ShipHandler)
    expect(registry.queries.get(GetOrder)?.handler).toBeInstanceOf(GetOrderHandler)
    expect(registry.events.get('orders.tell')?.handler).toBeInstanceOf(TellHandler)
  })

  test('a second handler is an error at start, in another module too', () => {
    expect(
      problemsOf(
        module({ handlers: [ShipHandler] }),
        module({ name: 'other', handlers: [SecondShipHandler] }),
      ),
    ).toEqual([expect.stringContaining('Ship has two handlers')])
  })

  test('two event handlers of one name are an error at start: they would share one cursor', () => {
    expect(problemsOf(module({ handlers: [TellHandler, SecondTellHandler] }))).toEqual([
      expect.stringContaining('orders.tell'),
    ])
  })

  test('two modules of one name are an error at start', () => {
    expect(problemsOf(module({}), module({}))).toEqual(['Two modules are named orders'])
  })

  test('an event outside its module’s name is an error at start', () => {
    expect(problemsOf(module({ events: [Foreign] }))).toEqual([expect.stringContaining('stock.moved')])
  })

  test('the events of a module are the event classes that its events file exports, beside whatever else that exports', () => {
    expect(
      problemsOf(module({ events: { Shipped, ships, Foreign, note: 'text', helper: () => {} } })),
    ).toEqual([expect.stringContaining('stock.moved')])
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
    expect(problemsOf(module({ handlers: [GetOrderHandler, TwinHandler] }))).toEqual([
      'Two queries are named GetOrder',
    ])
  })

  test('one start shows every mistake', () => {
    const problems = problemsOf(
      module({ events: [Foreign], handlers: [ShipHandler, SecondShipHandler, Undeclared] }),
      module({}),
    )
    expect(problems).toHaveLength(4)
  })

  test('a class without a decorator is an error at start', () => {
    expect(problemsOf(module({ handlers: [Undeclared] }))).toEqual([
      'Undeclared has no @commandHandler, @queryHandler or @eventHandler',
    ])
  })

  test('a dependency that nobody provides is an error at start that names the handler', () => {
    class Missing {}
    @commandHandler(Cancel)
    class NeedyHandler {
      constructor(@inject(Missing) readonly missing: Missing) {}
      async execute(): Promise<void> {}
    }
    expect(problemsOf(module({ handlers: [NeedyHandler] })).join(' ')).toMatch(/NeedyHandler.*Missing/)
  })

  test('a constructor parameter without @inject is an error at start that says so', () => {
    class Missing {}
    @commandHandler(Cancel)
    class ForgetfulHandler {
      constructor(readonly missing: Missing) {}
      async execute(): Promise<void> {}
    }
    expect(problemsOf(module({ handlers: [ForgetfulHandler] })).join(' ')).toMatch(
      /^The container cannot construct ForgetfulHandler: .*@inject[^.]*$/,
    )
  })
})
