import { Column } from 'typeorm'
import type { DomainEvent } from './domain-event.js'

/**
 * The consistency boundary of a module: one row, changed by its own methods only, each of which raises an
 * event. The unit of work writes row and events together; an aggregate never reaches the database alone.
 */
export abstract class AggregateRoot {
  /** 0 until it is first saved, then one more with every save. Guards against a lost update. */
  @Column('integer')
  version = 0

  #events: DomainEvent[] = []

  /** Raised and not yet committed, in order. */
  get uncommittedEvents(): readonly DomainEvent[] {
    return this.#events
  }

  protected raise(event: DomainEvent): void {
    this.#events.push(event)
  }

  /**
   * Keeps the first `count` uncommitted events and forgets the rest. Called by the unit of work alone: when a
   * savepoint rolls back, so that a retry does not write what the first attempt raised a second time, and
   * with 0 after the outermost COMMIT.
   */
  forgetEventsAfter(count: number): void {
    this.#events.length = Math.min(count, this.#events.length)
  }
}
