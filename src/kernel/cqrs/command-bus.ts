import type { Clock } from '../clock.js'
import type { Precondition } from '../domain/precondition.js'
import type { Faults } from '../faults.js'
import type { Consistency } from '../journal/consistency.js'
import type { Logger } from '../observability/logger.js'
import type { Dispatcher } from '../outbox/dispatcher.js'
import { isTransientConflict, UnitOfWorkError } from '../persistence/persistence-errors.js'
import { currentScope, requireScope } from '../persistence/transaction-scope.js'
import type { Committed, UnitOfWork } from '../persistence/unit-of-work.js'
import type { HandlerRegistry } from './handler-registry.js'
import type { CommandHandler } from './handlers.js'
import { type Bus, type CommandClass, type ResultOf, type Returning, validated } from './message.js'

/** How many milliseconds an answer waits for the position of its write. After that its token says pending. */
const waitForPositionMs = 20

/** How often a command that conflicts with other writers runs at most. The pause between two runs grows from this many ms. */
const attempts = 5
const firstPauseMs = 5

/** The first attempts lock nothing; later ones lock what they load, so that no other writer can be faster again. */
const optimisticAttempts = 2

/** Validates a command, calls its handler in a transaction, and calls the dispatcher after COMMIT. */
export class CommandBus implements Bus<'command'> {
  constructor(
    private readonly handlers: HandlerRegistry,
    private readonly unitOfWork: UnitOfWork,
    private readonly dispatcher: Dispatcher,
    private readonly faults: Faults,
    private readonly clock: Clock,
    private readonly logger: Logger,
  ) {}

  /**
   * Runs a command. Inside another command's handler, it runs in that command's transaction, in a savepoint.
   *
   * If another writer was faster, the command runs again from the start, in a new transaction. Before its commit a handler
   * must therefore do nothing outside the transaction that cannot be done twice.
   *
   * @throws InvalidMessageError if the command does not fit its schema
   * @throws ConcurrencyError if another writer was faster at every attempt
   * @throws CommitOutcomeUnknownError if the connection broke during COMMIT
   * @throws what the handler throws; nothing was written then
   */
  async execute<Command extends object & Returning<unknown, 'command'>>(
    command: Command,
    consistency?: Consistency,
  ): Promise<ResultOf<Command>> {
    const checked = validated(command)
    const handler = this.#handlerOf(checked)
    const nested = currentScope() !== undefined
    const committed = await this.#commit(() => execute(handler, checked), nested, consistency)
    // Outside of the attempts, because an error after COMMIT must not run the command again.
    if (!nested) await this.#afterCommit(committed, consistency)
    return committed.result
  }

  async #commit<Result>(
    work: () => Promise<Result>,
    nested: boolean,
    consistency: Consistency | undefined,
  ): Promise<Committed<Result>> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.unitOfWork.run(work, attempt > optimisticAttempts)
      } catch (error) {
        consistency?.wrote()
        // Only the outermost command runs again. Around a nested one, the transaction may hold one of the locks of a deadlock,
        // or an aggregate that is out of date.
        if (nested || attempt === attempts || !isTransientConflict(error)) throw error
        await this.clock.sleep(firstPauseMs * 2 ** attempt * Math.random())
      }
    }
  }

  async #afterCommit(committed: Committed<unknown>, consistency: Consistency | undefined): Promise<void> {
    if (!committed.hasEvents) return consistency?.wrote()
    await this.faults.at('after-commit')
    const dispatched = this.dispatcher.afterCommit(committed).then(
      (token) => consistency?.wrote(token),
      (error: unknown) => {
        // The write is committed all the same: the next check of any node numbers it.
        consistency?.wrote()
        this.logger.warn({ err: error }, 'the dispatch after a commit failed')
      },
    )
    if (!(await this.clock.within(waitForPositionMs, dispatched))) consistency?.wrote()
  }

  #handlerOf<Command extends object & Returning<unknown, 'command'>>(
    command: Command,
  ): CommandHandler<Command> {
    const registered = this.handlers.commands.get(command.constructor as unknown as CommandClass)
    if (!registered)
      throw new TypeError(
        `${command.constructor.name} has no handler: no module lists a class with @commandHandler(${command.constructor.name})`,
      )
    return registered.handler as CommandHandler<Command>
  }
}

/**
 * @throws UnitOfWorkError if the handler has compared no aggregate with the command's precondition. Without this, a handler
 *   that does not pass it on would overwrite what the client has not seen
 */
async function execute<Command extends object>(
  handler: CommandHandler<Command>,
  command: Command & { readonly precondition?: Precondition },
): Promise<ResultOf<Command>> {
  const result = await handler.execute(command)
  const { precondition } = command
  if (precondition !== undefined && !requireScope().resources.aggregates.checked.has(precondition)) {
    throw new UnitOfWorkError(
      `The handler of ${command.constructor.name} ignores its precondition: pass it to get or find of the store`,
    )
  }
  return result
}
