import { Column } from 'typeorm'
import type { DomainEvent } from './domain-event.js'

/**
 * The base class of aggregates. An aggregate is one row, which changes only by the aggregate's own methods. Each of them
 * raises an event. The unit of work writes the row and its events together, never one without the other.
 */
export abstract class AggregateRoot {
  /** 0 until the first save; every save adds 1. Saves compare it, so that no update is lost. */
  @Column('integer')
  version = 0

  #events: DomainEvent[] = []

  /** False if only its row is left (`SoftDeletableAggregate`). */
  get exists(): boolean {
    return true
  }

  /** In the order in which they were raised. */
  get uncommittedEvents(): readonly DomainEvent[] {
    return this.#events
  }

  protected raise(event: DomainEvent): void {
    this.#events.push(event)
  }

  /**
   * Keeps the first `count` uncommitted events and forgets the rest. Only the unit of work calls this: with 0 after the
   * outermost COMMIT, and when a savepoint rolls back, as a retry would otherwise write the events of the first attempt, too.
   */
  forgetEventsAfter(count: number): void {
    this.#events.length = Math.min(count, this.#events.length)
  }
}
