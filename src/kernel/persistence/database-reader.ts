import { type BulkheadPolicy, BulkheadRejectedError, bulkhead } from 'cockatiel'
import type { ObjectLiteral, ObjectType, Repository } from 'typeorm'
import type { Connections } from './connections.js'
import { OverloadedError } from './persistence-errors.js'
import { currentScope, readInScope } from './transaction-scope.js'

/** What a query handler can do with a table: read it. Writes go through the unit of work, which also writes events. */
export type ReadRepository<Entity extends ObjectLiteral> = Pick<
  Repository<Entity>,
  | 'find'
  | 'findBy'
  | 'findOne'
  | 'findOneBy'
  | 'findAndCount'
  | 'findAndCountBy'
  | 'count'
  | 'countBy'
  | 'exists'
  | 'existsBy'
  | 'sum'
  | 'average'
  | 'minimum'
  | 'maximum'
>

/**
 * Reads the database for query handlers. It always reads the primary, because a replica that lags would fill the caches with
 * values older than their stamps. Inside a unit of work it reads in that transaction.
 */
export class DatabaseReader {
  readonly #limit: BulkheadPolicy

  /**
   * @param concurrency the most reads at a time. It must be less than the number of connections in the pool, so that a burst
   *   of misses leaves some to the commands
   * @param queue the most reads that wait
   */
  constructor(
    private readonly connections: Connections,
    concurrency: number,
    queue: number,
  ) {
    this.#limit = bulkhead(concurrency, queue)
  }

  /**
   * @throws OverloadedError if too many reads are waiting
   * @throws what `work` throws
   */
  async read<Entity extends ObjectLiteral, Result>(
    type: ObjectType<Entity>,
    work: (table: ReadRepository<Entity>) => Promise<Result>,
  ): Promise<Result> {
    if (currentScope()) return readInScope(({ manager }) => work(manager.getRepository(type)))
    try {
      return await this.#limit.execute(() =>
        this.connections.borrow((runner) => work(runner.manager.getRepository(type))),
      )
    } catch (error) {
      if (error instanceof BulkheadRejectedError) throw new OverloadedError()
      throw error
    }
  }
}
