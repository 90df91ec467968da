import { displayName, Uuid, z } from '../../../kernel/domain/index.js'

export const UserId = Uuid
export const Email = z.email().max(254)
export const UserName = displayName(100)
export const Permissions = z.array(z.string().regex(/^[A-Za-z0-9._:-]{1,64}$/)).max(100)
