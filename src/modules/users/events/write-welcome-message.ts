import { inject } from 'inversify'
import { type EventHandler, eventHandler } from '../../../kernel/cqrs/handlers.js'
import type { PayloadOf } from '../../../kernel/domain/domain-event.js'
import { UnitOfWork } from '../../../kernel/persistence/unit-of-work.js'
import { UserRegistered } from '../domain/user-events.js'
import { WelcomeMessage } from '../domain/welcome-message.js'

@eventHandler('users.write-welcome-message', UserRegistered)
export class WriteWelcomeMessage implements EventHandler<typeof UserRegistered> {
  constructor(@inject(UnitOfWork) private readonly unitOfWork: UnitOfWork) {}

  async handle({ userId, name }: PayloadOf<typeof UserRegistered>): Promise<void> {
    await this.unitOfWork.of(WelcomeMessage).add(WelcomeMessage.write(userId, name))
  }
}
