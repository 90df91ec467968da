import { Column } from 'typeorm'
import { AggregateRoot } from './aggregate-root.js'

/**
 * An aggregate whose row stays after it was deleted, with its version. If the row went, an aggregate that is created again
 * under the same key would have version 1 once more, and could match a client's old entity tag.
 *
 * Its table has the column `deleted_at timestamptz`. Set `deletedAt` and save the aggregate; do not remove it from its store.
 * Queries have to leave deleted rows out.
 */
export abstract class SoftDeletableAggregate extends AggregateRoot {
  @Column('timestamptz', { name: 'deleted_at', nullable: true })
  deletedAt: Date | null = null

  override get exists(): boolean {
    return this.deletedAt === null
  }
}
