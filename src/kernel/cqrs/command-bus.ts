import type { Clock } from '../clock.js'
import type { Faults } from '../faults.js'
import type { Consistency } from '../journal/consistency.js'
import type { Logger } from '../observability/logger.js'
import type { Dispatcher } from '../outbox/dispatcher.js'
import { isTransientConflict } from '../persistence/persistence-errors.js'
import { currentScope } from '../persistence/transaction-scope.js'
import type { Committed, UnitOfWork } from '../persistence/unit-of-work.js'
import type { HandlerRegistry } from './handler-registry.js'
import type { CommandHandler } from './handlers.js'
import { type Bus, type CommandClass, type ResultOf, type Returning, validated } from './message.js'

/** Milliseconds that an answer waits for its write's position; without it the token says pending. */
const waitForPositionMs = 20

/** How often a command is run that meets another writer; the pause in between grows from this many ms. */
const attempts = 5
const firstPauseMs = 5

/** Attempts that trust that nobody will interfere; those after them lock what they load. */
const optimisticAttempts = 2

/** Validation, then a transaction, then the handler; after COMMIT the dispatcher. */
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
   * Runs a command; inside another command's handler it joins that one's transaction, in a savepoint.
   *
   * When another writer was faster, it runs again from the start, in a new transaction: a handler must do
   * nothing that cannot be done twice before its commit.
   *
   * @throws InvalidMessageError if the command does not fit its schema
   * @throws ConcurrencyError if other writers were faster every time
   * @throws CommitOutcomeUnknownError if the connection broke during COMMIT
   * @throws what the handler throws; then nothing was written
   */
  async execute<Command extends object & Returning<unknown, 'command'>>(
    command: Command,
    consistency?: Consistency,
  ): Promise<ResultOf<Command>> {
    const checked = validated(command)
    const handler = this.#handlerOf(checked)
    const nested = currentScope() !== undefined
    const committed = await this.#commit(() => handler.execute(checked), nested, consistency)
    // Outside the attempts: whatever happens after COMMIT must not run the command once more.
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
        // In another's transaction a conflict has doomed the whole of it; only the outermost may try again.
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
        // Committed all the same: the next check of any node gives it a position.
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
    if (!registered) throw new TypeError(`${command.constructor.name} is a command of no module`)
    return registered.handler as CommandHandler<Command>
  }
}
