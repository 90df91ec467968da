import { inject } from 'inversify'
import { z } from 'zod'
import { type CommandHandler, commandHandler } from '../../../kernel/cqrs/handlers.js'
import { command } from '../../../kernel/cqrs/message.js'
import { Precondition } from '../../../kernel/domain/index.js'
import { UnitOfWork } from '../../../kernel/persistence/unit-of-work.js'
import { User } from '../domain/user.js'
import { Email, UserId, UserName } from '../domain/values.js'
import { type UserView, viewOf } from '../user-view.js'
import { asEmailTaken } from './email-taken.js'

export class ChangeUser extends command(
  z.strictObject({
    userId: UserId,
    name: UserName.optional(),
    email: Email.optional(),
    precondition: Precondition,
  }),
).returning<UserView>() {}

@commandHandler(ChangeUser)
export class ChangeUserHandler implements CommandHandler<ChangeUser> {
  constructor(@inject(UnitOfWork) private readonly unitOfWork: UnitOfWork) {}

  async execute({ userId, name, email, precondition }: ChangeUser): Promise<UserView> {
    const users = this.unitOfWork.of(User)
    const user = await users.get(userId, precondition)
    if (name !== undefined) user.rename(name)
    if (email !== undefined) user.changeEmail(email)
    try {
      await users.save(user)
    } catch (error) {
      throw asEmailTaken(error, user.email)
    }
    return viewOf(user)
  }
}
