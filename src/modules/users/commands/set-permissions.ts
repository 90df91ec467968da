import { inject } from 'inversify'
import { z } from 'zod'
import { type CommandHandler, commandHandler } from '../../../kernel/cqrs/handlers.js'
import { command } from '../../../kernel/cqrs/message.js'
import { Precondition } from '../../../kernel/domain/index.js'
import { UnitOfWork } from '../../../kernel/persistence/unit-of-work.js'
import { User } from '../domain/user.js'
import { Permissions, UserId } from '../domain/values.js'
import { type UserView, viewOf } from '../user-view.js'

export class SetPermissions extends command(
  z.strictObject({ userId: UserId, permissions: Permissions, precondition: Precondition }),
).returning<UserView>() {}

@commandHandler(SetPermissions)
export class SetPermissionsHandler implements CommandHandler<SetPermissions> {
  constructor(@inject(UnitOfWork) private readonly unitOfWork: UnitOfWork) {}

  async execute({ userId, permissions, precondition }: SetPermissions): Promise<UserView> {
    const users = this.unitOfWork.of(User)
    const user = await users.get(userId, precondition)
    user.grantExactly(permissions)
    await users.save(user)
    return viewOf(user)
  }
}
