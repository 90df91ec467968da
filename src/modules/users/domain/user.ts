import { Column, Entity, PrimaryColumn } from 'typeorm'
import { AggregateRoot } from '../../../kernel/domain/index.js'
import {
  UserDeleted,
  UserEmailChanged,
  UserPermissionsChanged,
  UserRegistered,
  UserRenamed,
} from './user-events.js'

@Entity('user_account')
export class User extends AggregateRoot {
  @PrimaryColumn('uuid')
  id!: string

  @Column('text')
  email!: string

  @Column('text')
  name!: string

  @Column('text', { array: true })
  permissions!: string[]

  static register(id: string, email: string, name: string): User {
    const user = new User()
    user.id = id
    user.email = email
    user.name = name
    user.permissions = []
    user.raise(new UserRegistered({ userId: id, email, name }))
    return user
  }

  rename(name: string): void {
    if (name === this.name) return
    this.name = name
    this.raise(new UserRenamed({ userId: this.id, name }))
  }

  changeEmail(email: string): void {
    if (email === this.email) return
    const previousEmail = this.email
    this.email = email
    this.raise(new UserEmailChanged({ userId: this.id, email, previousEmail }))
  }

  /** Order and repetition have no meaning, so permissions are stored sorted and without repetitions. */
  grantExactly(permissions: readonly string[]): void {
    const granted = [...new Set(permissions)].sort()
    if (granted.length === this.permissions.length && granted.every((p, i) => p === this.permissions[i]))
      return
    this.permissions = granted
    this.raise(new UserPermissionsChanged({ userId: this.id, permissions: granted }))
  }

  /** Remove the user from its store afterwards. */
  delete(): void {
    this.raise(new UserDeleted({ userId: this.id }))
  }
}
