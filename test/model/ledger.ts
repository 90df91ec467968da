import type { AdaptiveOptions, EntryOptions } from '../../src/kernel/cache/entry-options.js'
import type { CacheName } from './sequence.js'

/** A row as it was read: its value says which version it is, and `null` that there was none. */
export type RowRead = readonly [row: string, value: string | null]

/** What every cache holds: a value that says what it was made from, and by which load. */
export interface LoadedValue {
  readonly load: number
  /** Read from the database by this load itself. */
  readonly rows: readonly RowRead[]
  /** Rows of which a cached read said that they are not there. */
  readonly absent: readonly string[]
  /** The loads of the cached values that it was made of. */
  readonly madeOf: readonly number[]
  /** What freezing cannot protect. */
  readonly changeable?: Changeable
  readonly bulk?: string
}

export interface Changeable {
  readonly at: Date
  readonly map: Map<string, { n: number }>
  readonly set: Set<string>
  readonly bytes: Uint8Array
}

/** A place in the sequence of invalidations, as one node stood there. */
export interface Place {
  readonly epoch: string
  readonly position: number
}

/** One run of a factory, or one `set`: all that is true of the value that it made. */
export interface Load {
  readonly id: number
  readonly cache: CacheName
  readonly key: string
  readonly node: number
  readonly options: EntryOptions
  /** Ms at which it began, and what its node had applied then. */
  readonly beganAt: number
  readonly began: Place
  /** Ms at which it was over; undefined for as long as it runs. */
  endedAt: number | undefined
  failed: boolean
  readonly rows: RowRead[]
  readonly absent: string[]
  readonly madeOf: number[]
  readonly tags: Set<string>
  /** Whether its caller was told that something stale is in it. */
  madeOfStale: boolean
  /** Whether something in it may be answered stale. */
  mayBeMadeOfStale: boolean
  isKept: boolean
  /**
   * Whether it depends on more than is noted here: on what failed loads inside it have read, on cached absences, or on whatever
   * other values were made of that came of the same call.
   */
  dependsOnMore: boolean
  /** What it has decided for its value. */
  adapted: AdaptiveOptions
  /** What it made, to notice if anybody has changed it. */
  text: string
  /** Later loads that found it not modified. */
  readonly renewals: { readonly at: number; readonly place: Place; readonly ttlMs: number }[]
  /** Of a `set`: the position of its own message, which no longer counts against it. */
  setAt?: Place
}

/** Every load of a run. */
export class Ledger {
  readonly #loads: Load[] = []

  get all(): readonly Load[] {
    return this.#loads
  }

  begin(
    load: Pick<Load, 'cache' | 'key' | 'node' | 'options' | 'beganAt' | 'began'> & {
      tags?: Iterable<string>
    },
  ): Load {
    const begun: Load = {
      ...load,
      id: this.#loads.length,
      endedAt: undefined,
      failed: false,
      rows: [],
      absent: [],
      madeOf: [],
      tags: new Set(load.tags),
      madeOfStale: false,
      mayBeMadeOfStale: false,
      isKept: !load.options.skipL1Write,
      dependsOnMore: false,
      adapted: {},
      text: '',
      renewals: [],
    }
    this.#loads.push(begun)
    return begun
  }

  get(id: number): Load | undefined {
    return this.#loads[id]
  }

  /** A load with all that it was made of. */
  withParts(load: Load): readonly Load[] {
    const parts = new Set<Load>()
    const add = (one: Load): void => {
      if (parts.has(one)) return
      parts.add(one)
      for (const id of one.madeOf) {
        const part = this.get(id)
        if (part) add(part)
      }
    }
    add(load)
    return [...parts]
  }
}

/** The same text for values that are equal, as a caller sees them. */
export function textOf(value: unknown): string {
  return JSON.stringify(value, (_, part) =>
    part instanceof Map || part instanceof Set || part instanceof Uint8Array ? [...part] : part,
  )
}

/** All that a load has come to know of rows by itself. */
export function readsOf({ rows, absent }: Load): readonly RowRead[] {
  return [...rows, ...absent.map((row) => [row, null] as const)]
}
