import { domainEvent, Uuid, z } from '../../../kernel/domain/index.js'

const userId = Uuid

export class UserRegistered extends domainEvent(
  'users.user-registered',
  z.object({ userId, email: z.string(), name: z.string() }),
) {}

export class UserRenamed extends domainEvent('users.user-renamed', z.object({ userId, name: z.string() })) {}

export class UserEmailChanged extends domainEvent(
  'users.user-email-changed',
  z.object({ userId, email: z.string(), previousEmail: z.string() }),
) {}

export class UserPermissionsChanged extends domainEvent(
  'users.user-permissions-changed',
  z.object({ userId, permissions: z.array(z.string()) }),
) {}

export class UserDeleted extends domainEvent('users.user-deleted', z.object({ userId })) {}

export class WelcomeMessageWritten extends domainEvent(
  'users.welcome-message-written',
  z.object({ userId }),
) {}
