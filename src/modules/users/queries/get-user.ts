import { inject } from 'inversify'
import { z } from 'zod'
import { type QueryHandler, queryHandler } from '../../../kernel/cqrs/handlers.js'
import { query } from '../../../kernel/cqrs/message.js'
import { on } from '../../../kernel/journal/invalidation-rules.js'
import { DatabaseReader } from '../../../kernel/persistence/database-reader.js'
import { User } from '../domain/user.js'
import {
  UserDeleted,
  UserEmailChanged,
  UserPermissionsChanged,
  UserRegistered,
  UserRenamed,
} from '../domain/user-events.js'
import { UserId } from '../domain/values.js'
import { type UserView, viewOf } from '../user-view.js'

export class GetUser extends query(z.strictObject({ userId: UserId })).returning<UserView | null>() {}

@queryHandler(GetUser, {
  key: ({ userId }) => userId,
  keyOfAnswer: ({ id }) => id, // compared with `key` after each load: one user has one key
  createdBy: [on(UserRegistered, ({ userId }) => ({ keys: [userId] }))], // lets "not there" be cached as well
  invalidatedBy: [
    on(UserRenamed, ({ userId }) => ({ keys: [userId] })),
    on(UserEmailChanged, ({ userId }) => ({ keys: [userId] })),
    on(UserPermissionsChanged, ({ userId }) => ({ keys: [userId] })),
    on(UserDeleted, ({ userId }) => ({ keys: [userId] })),
  ],
})
export class GetUserHandler implements QueryHandler<GetUser> {
  constructor(@inject(DatabaseReader) private readonly database: DatabaseReader) {}

  async execute({ userId }: GetUser): Promise<UserView | null> {
    const user = await this.database.read(User, (users) => users.findOneBy({ id: userId }))
    return user && viewOf(user)
  }
}
