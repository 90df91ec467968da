import { inject } from 'inversify'
import { z } from 'zod'
import { type CommandHandler, commandHandler } from '../../../kernel/cqrs/handlers.js'
import { command } from '../../../kernel/cqrs/message.js'
import { Precondition } from '../../../kernel/domain/index.js'
import { UnitOfWork } from '../../../kernel/persistence/unit-of-work.js'
import { User } from '../domain/user.js'
import { UserId } from '../domain/values.js'

export class DeleteUser extends command(
  z.strictObject({ userId: UserId, precondition: Precondition }),
).returning<void>() {}

@commandHandler(DeleteUser)
export class DeleteUserHandler implements CommandHandler<DeleteUser> {
  constructor(@inject(UnitOfWork) private readonly unitOfWork: UnitOfWork) {}

  async execute({ userId, precondition }: DeleteUser): Promise<void> {
    const users = this.unitOfWork.of(User)
    const user = await users.get(userId, precondition)
    user.delete()
    await users.remove(user)
  }
}
