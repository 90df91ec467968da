import { type BulkheadPolicy, BulkheadRejectedError, bulkhead } from 'cockatiel'
import type { ObjectLiteral, ObjectType, Repository } from 'typeorm'
import type { Connections } from './connections.js'
import { OverloadedError } from './persistence-errors.js'
import { currentScope, readInScope } from './transaction-scope.js'

/** What a query handler may do with a table: read it. Writing goes through the unit of work, which raises events. */
export type ReadRepository<Entity extends ObjectLiteral> = Pick<
  Repository<Entity>,
  'find' | 'findBy' | 'findOne' | 'findOneBy' | 'count' | 'countBy' | 'exists' | 'existsBy'
>

/**
 * Reads for query handlers. Always the primary: a replica that lags would fill the caches with values older
 * than their stamp claims. Inside a unit of work it reads in that transaction.
 */
export class DatabaseReader {
  readonly #limit: BulkheadPolicy

  /**
   * @param concurrency reads at a time; fewer than the pool has connections, so that a storm of misses
   *   leaves some to the commands
   * @param queue reads that may wait beyond that
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
