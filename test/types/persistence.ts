import type { DatabaseReader } from '../../src/kernel/persistence/database-reader.js'
import type { UnitOfWork } from '../../src/kernel/persistence/unit-of-work.js'
import { User } from '../../src/modules/users/domain/user.js'

/** What a module's handlers are given does not offer a way around the events. */
export async function tryAround(reader: DatabaseReader, unitOfWork: UnitOfWork): Promise<void> {
  await reader.read(User, (users) => users.findOneBy({ name: 'Ada' }))
  // @ts-expect-error a reader does not save
  await reader.read(User, (users) => users.save(new User()))
  // @ts-expect-error nor delete
  await reader.read(User, (users) => users.delete('id'))
  // @ts-expect-error nor hand out what does
  await reader.read(User, async (users) => users.manager)
  // @ts-expect-error a change of many rows without the events that describe it
  await unitOfWork.changeMany([], async (manager) => manager.query('update user_account set name = name'))
}
