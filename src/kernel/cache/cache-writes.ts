import { randomUUID } from 'node:crypto'
import { assertTag, dependencyOn, isText } from '../journal/invalidation-rules.js'
import type { JournalMessage } from '../journal/journal.js'
import { currentScope } from '../persistence/transaction-scope.js'
import { CacheInvalidated } from './cache-invalidated.js'
import type { CacheDependencies, HybridCacheOptions, SetOptions } from './cache-options.js'
import type { Entries } from './entries/entries.js'
import type { Storable, Tiers } from './entries/tiers.js'
import type { EntryOptions } from './entry-options.js'
import { inChunks } from './reads/in-chunks.js'
import { assertFewTags, type Loader } from './reads/loader.js'
import { ownCopyOf } from './values/mutation-safety.js'

/** Keys or tags in one message: enough to need few messages, and few enough for each message to fit into one hint. */
export const namesAMessage = 1_000

/** What is written to a cache by hand. All of it goes through the outbox, so that no node can miss it. */
export class CacheWrites {
  constructor(
    private readonly cache: HybridCacheOptions,
    private readonly dependencies: CacheDependencies,
    private readonly entries: Entries,
    private readonly tiers: Tiers,
    private readonly loader: Loader,
  ) {}

  /** @throws what Postgres throws */
  async set(
    values: ReadonlyMap<string, unknown>,
    options: SetOptions,
    entryOptions: EntryOptions,
  ): Promise<void> {
    const { stamp, tags = [] } = options
    tags.forEach(assertTag)
    const keys = [...values.keys()].filter((key) => this.#isText(key))
    const [first] = keys
    if (first !== undefined) assertFewTags(this.cache.name, first, tags)
    const isKept = (key: string) => stamp && !currentScope() && this.loader.mayKeep(values.get(key))
    const kept = keys.filter(isKept)
    const removed = keys.filter((key) => !isKept(key))
    // Values come before removals, so that those of the first message are copied before anything is awaited.
    if (stamp) {
      await this.#inTurns(kept, (some) => this.#setSome(some, values, { ...options, stamp }, entryOptions))
    }
    await this.remove(removed)
  }

  /**
   * The message supersedes what all nodes have of the keys, so that they come for the new value. The value itself is
   * stamped with the position of that message, if up to there nothing has invalidated what it was read from: at
   * its own position it is judged as if its load had just begun. Of two nodes that set, the later position wins.
   */
  async #setSome(
    keys: readonly string[],
    values: ReadonlyMap<string, unknown>,
    { stamp, tags = [] }: SetOptions & { stamp: NonNullable<SetOptions['stamp']> },
    options: EntryOptions,
  ): Promise<void> {
    const { applied, outbox } = this.dependencies
    const setId = randomUUID()
    // Copied now, because the owner of the values may change them while the message is written.
    const own = new Map(keys.map((key) => [key, ownCopyOf(values.get(key))]))
    const stop = applied.onMessage((message) => {
      if (!isSet(message, setId)) return
      const names = tags.map(dependencyOn.tag)
      const at = { epoch: applied.epoch, position: message.position }
      const storable: Storable[] = []
      for (const key of keys) {
        const loaded = {
          value: own.get(key),
          stamp: at,
          names,
          options,
          decided: {},
          validators: {},
          before: undefined,
        }
        const entry = this.entries.fromLoad(key, loaded)
        if (!applied.isFresh(stamp, entry.slots)) this.tiers.fenced(key, 'set')
        else if (this.loader.isKeepable(key, entry)) storable.push([key, entry, options])
      }
      // Before the message goes out to the others, on the same connection: who comes for the value finds it.
      this.tiers.store(storable, 'set')
    })
    try {
      await outbox.write([
        new CacheInvalidated({ cache: this.cache.name, keys: [...keys], mode: 'supersede', setId }),
      ])
    } finally {
      // A node so far behind that it has not applied its own message keeps nothing: the keys are superseded.
      stop()
    }
  }

  /** A key that is not well-formed text is never kept, so there is nothing to supersede under it. */
  #isText(key: string): boolean {
    const { events } = this.dependencies
    const is = isText(key)
    if (!is && events.wants('notStored')) {
      events.emit('notStored', { cache: this.cache.name, key, tier: 'l1', reason: 'key-not-text' })
    }
    return is
  }

  async remove(keys: readonly string[]): Promise<void> {
    await this.#inTurns(keys.filter(isText), async (some) => {
      await this.#write({ keys: [...some] })
      // Only to free memory, and only once it is committed: everything there is stale by its position.
      if (!currentScope()) this.dependencies.shared.forget(some.map((key) => this.tiers.sharedKey(key)))
    })
  }

  async expire(keys: readonly string[]): Promise<void> {
    await this.#inTurns(keys.filter(isText), (some) => this.#write({ keys: [...some], mode: 'expire' }))
  }

  async byTag(tags: readonly string[], mode: 'remove' | 'expire'): Promise<void> {
    tags.forEach(assertTag)
    await this.#inTurns(tags, (some) => this.#write({ tags: [...some], ...only(mode) }))
  }

  async clear(mode: 'remove' | 'expire'): Promise<void> {
    await this.#write({ all: true, ...only(mode) })
  }

  async #write(what: Omit<CacheInvalidated['payload'], 'cache'>): Promise<void> {
    await this.dependencies.outbox.write([new CacheInvalidated({ cache: this.cache.name, ...what })])
  }

  /** One message after another, each in its own turn of the event loop, so that the lease can be renewed in between. */
  async #inTurns(names: readonly string[], write: (some: readonly string[]) => Promise<void>): Promise<void> {
    for (const some of inChunks(names, namesAMessage)) {
      await write(some)
      if (some.length === namesAMessage) await this.dependencies.clock.nextTurn()
    }
  }
}

/** A removal is what the message says by itself. */
function only(mode: 'remove' | 'expire'): { mode?: 'expire' } {
  return mode === 'expire' ? { mode } : {}
}

function isSet(message: JournalMessage, setId: string): boolean {
  return (
    message.type === CacheInvalidated.eventName &&
    (message.payload as { setId?: unknown } | null)?.setId === setId
  )
}
