import { randomUUID } from 'node:crypto'
import { inject } from 'inversify'
import { z } from 'zod'
import { type CommandHandler, commandHandler } from '../../../kernel/cqrs/handlers.js'
import { command } from '../../../kernel/cqrs/message.js'
import { UnitOfWork } from '../../../kernel/persistence/unit-of-work.js'
import { User } from '../domain/user.js'
import { Email, UserName } from '../domain/values.js'
import { type UserView, viewOf } from '../user-view.js'
import { asEmailTaken } from './email-taken.js'

export class RegisterUser extends command(
  z.strictObject({ email: Email, name: UserName }),
).returning<UserView>() {}

@commandHandler(RegisterUser)
export class RegisterUserHandler implements CommandHandler<RegisterUser> {
  constructor(@inject(UnitOfWork) private readonly unitOfWork: UnitOfWork) {}

  async execute({ email, name }: RegisterUser): Promise<UserView> {
    const user = User.register(randomUUID(), email, name)
    try {
      await this.unitOfWork.of(User).add(user)
    } catch (error) {
      throw asEmailTaken(error, email)
    }
    return viewOf(user)
  }
}
