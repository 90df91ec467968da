import type { ServiceModule } from '../../kernel/cqrs/module.js'
import { ChangeUser, ChangeUserHandler } from './commands/change-user.js'
import { DeleteUser, DeleteUserHandler } from './commands/delete-user.js'
import { RegisterUser, RegisterUserHandler } from './commands/register-user.js'
import { SetPermissions, SetPermissionsHandler } from './commands/set-permissions.js'
import {
  UserDeleted,
  UserEmailChanged,
  UserPermissionsChanged,
  UserRegistered,
  UserRenamed,
} from './domain/user-events.js'
import { WelcomeMessageWritten } from './domain/welcome-message.js'
import { WriteWelcomeMessage } from './events/write-welcome-message.js'
import { userRoutes } from './http/user-routes.js'
import { GetUser, GetUserHandler } from './queries/get-user.js'

export const usersModule: ServiceModule = {
  name: 'users',
  commands: [RegisterUser, ChangeUser, SetPermissions, DeleteUser],
  queries: [GetUser],
  events: [
    UserRegistered,
    UserRenamed,
    UserEmailChanged,
    UserPermissionsChanged,
    UserDeleted,
    WelcomeMessageWritten,
  ],
  handlers: [
    RegisterUserHandler,
    ChangeUserHandler,
    SetPermissionsHandler,
    DeleteUserHandler,
    GetUserHandler,
    WriteWelcomeMessage,
  ],
  routes: userRoutes,
}
