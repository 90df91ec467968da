import { z } from 'zod'
import type { CommandBus } from '../../src/kernel/cqrs/command-bus.js'
import { commandHandler, queryHandler } from '../../src/kernel/cqrs/handlers.js'
import { command, query } from '../../src/kernel/cqrs/message.js'
import type { QueryBus } from '../../src/kernel/cqrs/query-bus.js'

class Rename extends command(z.strictObject({ id: z.string(), name: z.string() })).returning<{
  version: number
}>() {}
class GetName extends query(z.strictObject({ id: z.string() })).returning<string | null>() {}

export const rename = new Rename({ id: 'a', name: 'b' })
export const getName = new GetName({ id: 'a' })

// @ts-expect-error a command without one of its fields
new Rename({ id: 'a' })
// @ts-expect-error a field of the wrong type
new Rename({ id: 'a', name: 7 })
// @ts-expect-error a field that the command does not have
new Rename({ id: 'a', name: 'b', nick: 'c' })

@commandHandler(Rename)
export class RenameHandler {
  async execute({ id, name }: Rename): Promise<{ version: number }> {
    // @ts-expect-error a message is not changed by its handler
    rename.name = id
    return { version: name.length }
  }
}

// @ts-expect-error a handler that returns the wrong type
@commandHandler(Rename)
export class ForgetfulHandler {
  async execute(_: Rename): Promise<void> {}
}

// @ts-expect-error a handler that takes another command
@commandHandler(Rename)
export class ConfusedHandler {
  async execute({ nick }: { nick: string }): Promise<{ version: number }> {
    return { version: nick.length }
  }
}

// @ts-expect-error a query's handler for a command
@commandHandler(GetName)
export class MisplacedHandler {
  async execute(): Promise<string | null> {
    return null
  }
}

// @ts-expect-error a handler that leaves out a case of the answer's type is fine, one that adds another is not
@queryHandler(GetName)
export class UndefinedHandler {
  async execute(_: GetName): Promise<string | undefined> {
    return undefined
  }
}

export async function send(commandBus: CommandBus, queryBus: QueryBus): Promise<void> {
  const { version }: { version: number } = await commandBus.execute(rename)
  const name: string | null = await queryBus.execute(getName)
  // @ts-expect-error a query on the command bus
  await commandBus.execute(getName)
  // @ts-expect-error a command on the query bus
  await queryBus.execute(rename)
  // @ts-expect-error an answer taken for another type
  const wrong: number = await queryBus.execute(getName)
  // @ts-expect-error something that is no message
  await commandBus.execute('rename')
  void [version, name, wrong]
}
