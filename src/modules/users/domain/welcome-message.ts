import { Column, Entity, PrimaryColumn } from 'typeorm'
import { AggregateRoot } from '../../../kernel/domain/index.js'
import { WelcomeMessageWritten } from './user-events.js'

/** An example of what a service does for a new user. There is one row for each user, however often the event is delivered. */
@Entity('welcome_message')
export class WelcomeMessage extends AggregateRoot {
  @PrimaryColumn('uuid', { name: 'user_id' })
  userId!: string

  @Column('text')
  text!: string

  static write(userId: string, name: string): WelcomeMessage {
    const message = new WelcomeMessage()
    message.userId = userId
    message.text = `Welcome, ${name}!`
    message.raise(new WelcomeMessageWritten({ userId }))
    return message
  }
}
