import { randomUUID } from 'node:crypto'
import type { Consistency } from '../../src/kernel/journal/consistency.js'
import { ChangeUser } from '../../src/modules/users/commands/change-user.js'
import { RegisterUser } from '../../src/modules/users/commands/register-user.js'
import { GetUser } from '../../src/modules/users/queries/get-user.js'
import type { UserView } from '../../src/modules/users/user-view.js'
import type { Node } from '../../src/node.js'

export function freshEmail(): string {
  return `${randomUUID()}@example.org`
}

export function registerUser(node: Node, name = 'Ada'): Promise<UserView> {
  return node.parts.commandBus.execute(new RegisterUser({ email: freshEmail(), name }))
}

export function renameUser(
  node: Node,
  userId: string,
  name: string,
  consistency?: Consistency,
): Promise<UserView> {
  return node.parts.commandBus.execute(new ChangeUser({ userId, name }), consistency)
}

export function getUser(node: Node, userId: string, consistency?: Consistency): Promise<UserView | null> {
  return node.parts.queryBus.execute(new GetUser({ userId }), consistency)
}
