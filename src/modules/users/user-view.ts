import { z } from 'zod'
import type { User } from './domain/user.js'

export const UserId = z.uuid()
export const Email = z.email().max(254)
/** Any script, but what Postgres can store: no U+0000, no half of a surrogate pair. */
export const UserName = z
  .string()
  .regex(/^[^\0\p{Cs}]*$/u, 'contains characters that cannot be stored')
  .trim()
  .min(1)
  .max(100)
export const Permissions = z.array(z.string().regex(/^[A-Za-z0-9._:-]{1,64}$/)).max(100)

/** What the outside sees of a user. */
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
