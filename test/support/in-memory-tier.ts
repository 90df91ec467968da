import type { SharedEntry, SharedKey, SharedTier } from '../../src/kernel/cache/shared-tier.js'

/** L2 without Redis: values pass through JSON, and a test may put anything into it. */
export class InMemoryTier implements SharedTier {
  entries = new Map<string, string>()
  /** Awaited before an entry that was found is handed out. */
  afterGet: () => Promise<void> | undefined = () => undefined

  async get(key: SharedKey): Promise<SharedEntry | undefined> {
    const text = this.entries.get(nameOf(key))
    await this.afterGet()
    return text === undefined ? undefined : (JSON.parse(text) as SharedEntry)
  }

  set(key: SharedKey, entry: SharedEntry): void {
    this.entries.set(nameOf(key), JSON.stringify(entry))
  }
}

function nameOf({ epoch, cache, key }: SharedKey): string {
  return `${epoch}:${cache}:${key}`
}
