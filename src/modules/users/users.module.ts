import type { ServiceModule } from '../../kernel/cqrs/module.js'
import { ChangeUserHandler } from './commands/change-user.js'
import { DeleteUserHandler } from './commands/delete-user.js'
import { RegisterUserHandler } from './commands/register-user.js'
import { SetPermissionsHandler } from './commands/set-permissions.js'
import { User } from './domain/user.js'
import * as userEvents from './domain/user-events.js'
import { WelcomeMessage } from './domain/welcome-message.js'
import { WriteWelcomeMessage } from './events/write-welcome-message.js'
import { userRoutes } from './http/user-routes.js'
import { GetUserHandler } from './queries/get-user.js'

export const usersModule: ServiceModule = {
  name: 'users',
  entities: [User, WelcomeMessage],
  events: userEvents,
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
