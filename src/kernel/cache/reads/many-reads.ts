import { ambient } from '../../ambient.js'
import { currentScope } from '../../persistence/transaction-scope.js'
import type { CacheDependencies, Read, ReadOptions } from '../cache-options.js'
import type { CacheParts } from '../cache-parts.js'
import { CacheEntry } from '../entries/cache-entry.js'
import { checkEntryOptions, type EntryOptions, type Given } from '../entry-options.js'
import type { Factory } from '../load-context.js'
import { BatchLoads, type LoadMissing } from './batch-loads.js'
import { inChunks } from './in-chunks.js'

/** Most keys of one `getMany` that are read in one turn of the event loop, and that one call of `loadMissing` gets. */
const keysALoad = 1_000

/** What reads of several keys share with reads of one key. */
export interface SingleReads<Key extends string> {
  freshInMemory(key: Key, now: number | undefined, chosen?: Given<EntryOptions>): CacheEntry | undefined
  readOf(key: Key, factory: Factory, options: ReadOptions<never>): Read
}

/** Reads of several keys by one call. */
export class ManyReads<Key extends string> {
  constructor(
    private readonly dependencies: CacheDependencies,
    private readonly parts: CacheParts,
    private readonly single: SingleReads<Key>,
  ) {}

  /** @throws as `HybridCache.getMany` */
  async get<Result>(
    keys: Iterable<Key>,
    loadMissing: LoadMissing<Key, Result>,
    options: ReadOptions<Result>,
  ): Promise<Map<Key, Result>> {
    const wanted = [...new Set(keys)]
    if (options.entry) checkEntryOptions(options.entry)
    if (ambient()) for (const key of wanted) this.parts.answers.asked(key, options.tags)
    const isInTransaction = currentScope() !== undefined
    if (!isInTransaction) await options.consistency?.satisfy()
    const found = new Map<Key, Result>()
    for (const some of inChunks(wanted, keysALoad)) {
      const answers: readonly (readonly [Key, Result | undefined])[] = isInTransaction
        ? await this.parts.uncached.loadMany(some, loadMissing, options)
        : await this.#getSome(some, loadMissing, options)
      for (const [key, value] of answers) if (value !== undefined) found.set(key, value)
      if (some.length === wanted.length) break
      // Between two chunks other work gets its turn, in particular the check that renews the lease.
      await this.dependencies.clock.nextTurn()
    }
    return found
  }

  async #getSome<Result>(
    keys: readonly Key[],
    loadMissing: LoadMissing<Key, Result>,
    options: ReadOptions<Result>,
  ): Promise<readonly (readonly [Key, Result])[]> {
    const { misses, answers, eager, tiers, loader } = this.parts
    const batch = new BatchLoads<Key>(loadMissing, tiers, loader)
    const due: [Read, CacheEntry][] = []
    const answering = Promise.all(
      keys.map(async (key) => {
        const now = this.dependencies.lease.heldAt()
        const hit = this.single.freshInMemory(key, now, options.entry)
        const alone: Factory = async ({ signal }) => (await loadMissing([key], signal)).get(key)
        if (!hit) return misses.answer(this.single.readOf(key, alone, options), batch)
        if (CacheEntry.isDue(hit, now as number)) due.push([this.single.readOf(key, alone, options), hit])
        return answers.ofHit(key, hit, options)
      }),
    )
    eager.beginMany(due, batch)
    const values = await answering
    return keys.map((key, index) => [key, values[index] as Result])
  }
}
