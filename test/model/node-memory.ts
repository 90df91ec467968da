import type { EntryOptions } from '../../src/kernel/cache/entry-options.js'
import type { Load } from './ledger.js'
import type { CacheName } from './sequence.js'

/** A value that a node is bound to have in memory. */
export interface Remembered {
  readonly load: Load
  /** Ms at which it was first seen to be there. */
  readonly since: number
  /** Ms up to which it is answered without another load; undefined where nobody can tell. */
  readonly freshUntil: number | undefined
  /** Ms up to which fail-safe may answer it. */
  readonly usableUntil: number
}

/** What each node must have in memory, by what it has answered. */
export class NodeMemory {
  readonly #remembered = new Map<string, Remembered[]>()

  /** The newest that was there before a moment. */
  before(at: number, node: number, cache: CacheName, key: string): Remembered | undefined {
    return this.all(node, cache, key).findLast(({ since }) => since < at)
  }

  all(node: number, cache: CacheName, key: string): readonly Remembered[] {
    return this.#remembered.get(`${node} ${cache} ${key}`) ?? []
  }

  /** A value that the node has loaded, and keeps. */
  loaded(now: number, load: Load, endedAt: number): void {
    const { l1TtlMs, l2TtlMs, jitterMs, failSafe } = effectiveOptions(load)
    const freshUntil = endedAt + Math.min(l1TtlMs, l2TtlMs) - jitterMs
    this.#add(load.node, {
      load,
      since: now,
      freshUntil,
      usableUntil: failSafe ? usableUntil(load, endedAt) : freshUntil,
    })
  }

  /** A value that the node has answered from memory. */
  answered(now: number, node: number, load: Load): void {
    const { failSafe, failSafeMaxDurationMs } = effectiveOptions(load)
    this.#add(node, {
      load,
      since: now,
      freshUntil: undefined,
      usableUntil: failSafe ? (load.endedAt ?? now) + failSafeMaxDurationMs : now,
    })
  }

  #add(node: number, remembered: Remembered): void {
    const { cache, key } = remembered.load
    const known = this.all(node, cache, key)
    if (known.at(-1)?.load === remembered.load) return
    this.#remembered.set(`${node} ${cache} ${key}`, [...known, remembered])
  }
}

/** Those of the read that has loaded, with what the load itself has decided. */
export function effectiveOptions({ options, adapted }: Load): EntryOptions {
  // None of a sequence's options is undefined.
  return { ...options, ...adapted } as EntryOptions
}

/** Ms up to which anybody may be answered what a load has made, be it by fail-safe. */
export function usableUntil(load: Load, endedAt = load.endedAt ?? Number.POSITIVE_INFINITY): number {
  const { l2TtlMs, failSafe, failSafeMaxDurationMs } = effectiveOptions(load)
  return endedAt + (failSafe ? Math.max(failSafeMaxDurationMs, l2TtlMs) : l2TtlMs)
}
