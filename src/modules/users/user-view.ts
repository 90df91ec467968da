import { z } from 'zod'
import { displayName, Uuid } from '../../kernel/domain/index.js'
import type { User } from './domain/user.js'

export const UserId = Uuid
export const Email = z.email().max(254)
export const UserName = displayName(100)
export const Permissions = z.array(z.string().regex(/^[A-Za-z0-9._:-]{1,64}$/)).max(100)

/** A user as clients see it. */
export const UserView = z.object({
  id: UserId,
  email: z.string(),
  name: z.string(),
  permissions: z.array(z.string()),
  version: z.number().int(),
})
export type UserView = z.output<typeof UserView>

export function viewOf({ id, email, name, permissions, version }: User): UserView {
  return { id, email, name, permissions: [...permissions], version }
}
