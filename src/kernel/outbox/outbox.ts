import type { InvalidationWriter } from '../cache/cache-invalidated.js'
import type { DomainEvent } from '../domain/domain-event.js'
import { currentScope, inScope } from '../persistence/transaction-scope.js'
import type { UnitOfWork } from '../persistence/unit-of-work.js'
import type { Dispatcher } from './dispatcher.js'

/** Writes events that no aggregate raised into the outbox. */
export class Outbox implements InvalidationWriter {
  constructor(
    private readonly unitOfWork: UnitOfWork,
    private readonly dispatcher: Dispatcher,
  ) {}

  async write(events: readonly DomainEvent[]): Promise<void> {
    const write = () => inScope(({ writeEvents }) => writeEvents(events))
    if (currentScope()) return write()
    await this.dispatcher.afterCommit(await this.unitOfWork.run(write))
  }
}
