import 'reflect-metadata'
import { randomUUID } from 'node:crypto'
import { inject } from 'inversify'
import { z } from 'zod'
import {
  type CommandHandler,
  commandHandler,
  type EventContext,
  type EventHandler,
  eventHandler,
} from '../../src/kernel/cqrs/handlers.js'
import { command } from '../../src/kernel/cqrs/message.js'
import type { ServiceModule } from '../../src/kernel/cqrs/module.js'
import type { PayloadOf } from '../../src/kernel/domain/index.js'
import type { Consistency } from '../../src/kernel/journal/consistency.js'
import { UnitOfWork } from '../../src/kernel/persistence/unit-of-work.js'
import { UserRegistered } from '../../src/modules/users/domain/user-events.js'
import type { Node } from '../../src/node.js'

type Script<Result> = (unitOfWork: UnitOfWork) => Promise<Result>
type Reaction = (
  payload: PayloadOf<typeof UserRegistered>,
  event: EventContext,
  unitOfWork: UnitOfWork,
) => Promise<void>

const scripts = new Map<string, Script<unknown>>()

/** A command whose handler does what the test says. */
export class Perform extends command(z.strictObject({ script: z.string() })).returning<unknown>() {}

@commandHandler(Perform)
class PerformHandler implements CommandHandler<Perform> {
  constructor(@inject(UnitOfWork) private readonly unitOfWork: UnitOfWork) {}

  async execute({ script }: Perform): Promise<unknown> {
    return scripts.get(script)?.(this.unitOfWork)
  }
}

/** What the two event handlers do; a test replaces it. */
export const reactions: { first: Reaction; second: Reaction } = {
  first: async () => {},
  second: async () => {},
}

@eventHandler('scripted.first', UserRegistered)
class FirstReaction implements EventHandler<typeof UserRegistered> {
  constructor(@inject(UnitOfWork) private readonly unitOfWork: UnitOfWork) {}

  async handle(payload: PayloadOf<typeof UserRegistered>, event: EventContext): Promise<void> {
    await reactions.first(payload, event, this.unitOfWork)
  }
}

@eventHandler('scripted.second', UserRegistered)
class SecondReaction implements EventHandler<typeof UserRegistered> {
  constructor(@inject(UnitOfWork) private readonly unitOfWork: UnitOfWork) {}

  async handle(payload: PayloadOf<typeof UserRegistered>, event: EventContext): Promise<void> {
    await reactions.second(payload, event, this.unitOfWork)
  }
}

export const scriptedModule: ServiceModule = {
  name: 'scripted',
  handlers: [PerformHandler, FirstReaction, SecondReaction],
}

/** Runs a script as a command of its own on a node, through the whole pipeline. */
export async function perform<Result>(
  node: Node,
  script: Script<Result>,
  consistency?: Consistency,
): Promise<Result> {
  const name = randomUUID()
  scripts.set(name, script)
  try {
    return (await node.parts.commandBus.execute(new Perform({ script: name }), consistency)) as Result
  } finally {
    scripts.delete(name)
  }
}
