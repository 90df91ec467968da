import { z } from 'zod'
import type { User } from './domain/user.js'
import { UserId } from './domain/values.js'

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
