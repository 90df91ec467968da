import type {
  LoadLock,
  SharedEntry,
  SharedKey,
  SharedTier,
} from '../../src/kernel/cache/shared/shared-tier.js'
import { StructuredSerializer } from '../../src/kernel/cache/values/structured-serializer.js'

const serializer = new StructuredSerializer()

/** L2 without Redis: values pass through the serializer, and a test may put anything into it. */
export class InMemoryTier implements SharedTier {
  readonly timeoutMs = 0
  entries = new Map<string, Uint8Array>()
  locks = new Map<string, { position: number; loaded: boolean }>()
  /** Awaited before an entry that was found is handed out. */
  afterGet: () => Promise<void> | undefined = () => undefined

  async get(key: SharedKey): Promise<SharedEntry | undefined> {
    const bytes = this.entries.get(nameOf(key))
    await this.afterGet()
    if (!bytes) return undefined
    const entry = serializer.deserialize(bytes) as SharedEntry
    return { ...entry, value: serializer.deserialize(entry.value as Uint8Array) }
  }

  getMany(keys: readonly SharedKey[]): Promise<readonly (SharedEntry | undefined)[]> {
    return Promise.all(keys.map((key) => this.get(key)))
  }

  set(key: SharedKey, entry: SharedEntry): void {
    try {
      const value = serializer.serialize(entry.value, entry.isJson)
      this.entries.set(nameOf(key), serializer.serialize({ ...entry, value }))
    } catch {
      // A tier never throws: it does not hold what it cannot bring back.
    }
  }

  setMany(entries: readonly { key: SharedKey; entry: SharedEntry; ttlMs: number }[]): void {
    for (const { key, entry } of entries) this.set(key, entry)
  }

  forget(keys: readonly SharedKey[]): void {
    for (const key of keys) this.entries.delete(nameOf(key))
  }

  lock(key: SharedKey, position: number, required: number): Promise<LoadLock> {
    const name = nameOf(key)
    const holder = this.locks.get(name)
    const recent = holder !== undefined && holder.position >= required
    if (recent && !holder.loaded) return Promise.resolve({ held: false })
    const lock = { position, loaded: false }
    this.locks.set(name, lock)
    const release = (loaded: boolean): void => {
      if (this.locks.get(name) !== lock) return
      if (loaded) lock.loaded = true
      else this.locks.delete(name)
    }
    return Promise.resolve({ held: true, loadedMeanwhile: recent, release })
  }
}

function nameOf({ epoch, cache, key }: SharedKey): string {
  return `${epoch}:${cache}:${key}`
}
