import { EventEmitter } from 'node:events'
import type { Staleness } from '../journal/consistency.js'
import type { Logger } from '../observability/logger.js'

export type { Staleness }

interface OfEntry {
  readonly cache: string
  readonly key: string
}

/** What one node's caches, L2 and journal have to tell. Names are in the past tense; times are in ms. */
export interface CacheEventMap {
  hit: [OfEntry & { readonly tier: 'l1' | 'l2' }]
  miss: [OfEntry]
  loaded: [OfEntry & { readonly durationMs: number; readonly eager: boolean }]
  /** `background`: nobody was waiting for it any more. */
  loadFailed: [OfEntry & { readonly error: unknown; readonly background: boolean }]
  /** A value was kept out because something that it depends on was invalidated after its load began. */
  fenced: [OfEntry & { readonly from: 'l2' | 'load' | 'set' }]
  /** A stale value was answered, marked as such. */
  staleServed: [
    OfEntry & { readonly staleness: Staleness; readonly cause: 'failed' | 'timeout' | 'throttled' },
  ]
  /** The limit that was reached: `maxEntries`, `maxBytes`, or the bytes that all caches of the node share. */
  evicted: [OfEntry & { readonly reason: 'entries' | 'bytes' | 'total-bytes' }]
  /** A value was answered, but a tier did not take it. */
  notStored: [
    OfEntry & {
      readonly tier: 'l1' | 'l2'
      readonly reason: NotStoredReason
      /** For `not-cloneable`: which part of the value is not data, and what it is. */
      readonly detail?: string
    },
  ]
  breaker: [{ readonly state: 'open' | 'half-open' | 'closed' }]
  /** A hint did not continue where this node stands. */
  gap: [{ readonly applied: number; readonly received: number }]
  /** A check applied what no hint had brought. */
  caughtUp: [{ readonly from: number; readonly to: number }]
  flushed: [{ readonly position: number; readonly reason: string }]
  epochEntered: [{ readonly epoch: string; readonly position: number }]
}

export type NotStoredReason =
  | 'too-large'
  | 'key-too-long'
  | 'key-not-text'
  | 'too-many-names'
  | 'not-serialisable'
  | 'not-cloneable'

/**
 * Tells whoever listens. Where nobody does, an event costs a comparison: `wants` is asked before an event's
 * object is made.
 */
export class CacheEvents {
  readonly #emitter = new EventEmitter()
  readonly #wanted = new Set<keyof CacheEventMap>()
  /** Asked at every hit, where the size of a set is a call. */
  #isAnyWanted = false

  constructor(readonly logger: Logger) {}

  /** @returns how to stop listening */
  on<Name extends keyof CacheEventMap>(
    name: Name,
    listener: (event: CacheEventMap[Name][0]) => void,
  ): () => void {
    const safely = (event: CacheEventMap[Name][0]): void => {
      // A listener only watches. It must not make a read fail, and a promise that it returns must not end the process by an
      // unhandled rejection.
      const report = (error: unknown): void => {
        this.logger.error({ err: error, event: name }, 'a listener of cache events threw')
      }
      try {
        const outcome = listener(event) as unknown
        if (typeof outcome === 'object' && outcome !== null) Promise.resolve(outcome).catch(report)
      } catch (error) {
        report(error)
      }
    }
    this.#emitter.on(name, safely)
    this.#wanted.add(name)
    this.#isAnyWanted = true
    return () => {
      this.#emitter.off(name, safely)
      if (this.#emitter.listenerCount(name) === 0) this.#wanted.delete(name)
      this.#isAnyWanted = this.#wanted.size > 0
    }
  }

  wants(name: keyof CacheEventMap): boolean {
    return this.#isAnyWanted && this.#wanted.has(name)
  }

  emit<Name extends keyof CacheEventMap>(name: Name, event: CacheEventMap[Name][0]): void {
    this.#emitter.emit(name, event)
  }
}
