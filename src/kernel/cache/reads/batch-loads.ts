import type { Read } from '../cache-options.js'
import type { Tiers } from '../entries/tiers.js'
import type { Loader, LoadWaiters } from './loader.js'
import type { Route } from './misses.js'
import type { ReadResult } from './single-flight.js'

/** Loads several keys at once. What it leaves out is absent. */
export type LoadMissing<Key extends string = string, Value = unknown> = (
  missing: readonly Key[],
  signal: AbortSignal,
) => Promise<ReadonlyMap<Key, Value>>

interface Waiting {
  readonly read: Read
  readonly waiters: LoadWaiters
  readonly resolve: (result: ReadResult) => void
  readonly reject: (error: unknown) => void
}

/**
 * The keys of one `getMany` that have to be fetched: gathered as they ask, then one read of L2 and one call of the
 * factory. Each of them is a call of its own, which others may join and which is stamped and fenced alone.
 */
export class BatchLoads<Key extends string> implements Route {
  #gathering: Waiting[] = []
  #bypassing: Waiting[] = []
  #refreshing: Waiting[] = []

  constructor(
    private readonly loadMissing: LoadMissing<Key>,
    private readonly tiers: Tiers,
    private readonly loader: Loader,
  ) {}

  run(read: Read, waiters: LoadWaiters): Promise<ReadResult> {
    return this.#gather(this.#gathering, read, waiters, async () => {
      const batch = this.#gathering
      this.#gathering = []
      await this.#fetch(batch)
    })
  }

  bypass(read: Read, waiters: LoadWaiters): Promise<ReadResult> {
    return this.#gather(this.#bypassing, read, waiters, async () => {
      const batch = this.#bypassing
      this.#bypassing = []
      await this.#load(batch, 'bypass')
    })
  }

  /** Loads from the database before the copies in memory expire. */
  refresh(read: Read, waiters: LoadWaiters): Promise<ReadResult> {
    return this.#gather(this.#refreshing, read, waiters, async () => {
      const batch = this.#refreshing
      this.#refreshing = []
      await this.#load(batch, 'miss', true)
    })
  }

  #gather(batch: Waiting[], read: Read, waiters: LoadWaiters, run: () => Promise<void>): Promise<ReadResult> {
    return new Promise((resolve, reject) => {
      batch.push({ read, waiters, resolve, reject })
      // All keys of one call ask in the same turn.
      if (batch.length === 1) queueMicrotask(() => void run())
    })
  }

  async #fetch(batch: readonly Waiting[]): Promise<void> {
    const [first] = batch
    if (!first) return
    try {
      const keys = batch.map(({ read }) => read.key)
      const copies = await this.tiers.copyManyFromShared(keys, first.read.entry)
      batch.forEach(({ resolve }, index) => {
        const copy = copies[index]
        if (copy) resolve(copy)
      })
      await this.#load(
        batch.filter((_, index) => !copies[index]),
        'miss',
      )
    } catch (error) {
      for (const { reject } of batch) reject(error)
    }
  }

  async #load(batch: readonly Waiting[], source: 'miss' | 'bypass', eager = false): Promise<void> {
    if (batch.length === 0) return
    try {
      const waiters = allOf(batch.map(({ waiters }) => waiters))
      const reads = batch.map(({ read }) => read)
      const loaded = await this.loader.loadMany(reads, this.loadMissing, waiters, eager)
      const storable = loaded.flatMap(({ entry, options, storable }, index) => {
        const key = reads[index]?.key
        return storable && key !== undefined ? [[key, entry, options] as const] : []
      })
      if (storable.length > 0) await this.tiers.storeLoaded(storable)
      loaded.forEach(({ entry, storable, staleness }, index) => {
        const key = reads[index]?.key
        if (!storable && !staleness && key !== undefined) this.tiers.overtaken(key, entry)
      })
      batch.forEach(({ resolve, reject }, index) => {
        const one = loaded[index]
        if (one) resolve({ entry: one.entry, source, staleness: one.staleness })
        else reject(new Error('never: there is an entry for each key'))
      })
    } catch (error) {
      for (const { reject } of batch) reject(error)
    }
  }
}

/** Given up only once all have given it up. */
function allOf(waiters: readonly LoadWaiters[]): LoadWaiters {
  const all = new AbortController()
  let left = waiters.length
  for (const { signal } of waiters) {
    const leave = (): void => {
      if (--left === 0) all.abort()
    }
    if (signal.aborted) leave()
    else signal.addEventListener('abort', leave, { once: true })
  }
  return {
    signal: all.signal,
    get awaited() {
      return waiters.some((one) => one.awaited)
    },
    loadBegins: (load) => {
      for (const one of waiters) one.loadBegins(load)
    },
  }
}
