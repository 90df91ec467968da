import type { AdaptiveOptions, EntryOptions } from '../../src/kernel/cache/entry-options.js'

/**
 * The caches of a sequence: `row` holds rows, one to a key; `page` is made of rows, and `book` of a page and rows; `origin`
 * holds what lies outside, whose changes raise no event, so that whoever changes it has to say so by hand.
 */
export type CacheName = 'row' | 'page' | 'book' | 'origin'
export const cacheNames: readonly CacheName[] = ['row', 'page', 'book', 'origin']

export const rows: readonly string[] = ['a', 'b', 'c']
export const originRows: readonly string[] = ['x', 'y']
export const groups: readonly string[] = ['g1', 'g2']

/** The key of a `page` or `book` names the rows that it is made of, a letter each. */
export const pages: readonly string[] = ['ab', 'ax', 'bc']

/** What one call asks for. */
export interface Call {
  readonly entry?: Partial<EntryOptions>
  /** The caller gives up after so many ms. */
  readonly abortsAfterMs?: number
}

/** How a load gets what is cached elsewhere. */
export type Way =
  | 'getOrCreate'
  | 'getMany'
  | 'get, or else getOrCreate'
  | 'peek, or else getOrCreate'
  | 'getOrCreate in a unit of work'
  | 'getMany in a unit of work'
  | 'getOrCreate in a unit of work that writes'
  | 'getOrCreate through a query'
  | 'getOrCreate, caught when it fails'
  | 'the database'

/** What a factory does. Its inner loads do the same, each after its own delays. */
export interface LoadPlan {
  /** Milliseconds before it reads. */
  readonly beforeMs: number
  /** Milliseconds between what it has read and its end. */
  readonly afterMs: number
  readonly ends: 'well' | 'by throwing' | 'after half a minute'
  /** What the loads inside it do; the same if absent. */
  readonly innerEnds?: LoadPlan['ends']
  readonly way: Way
  /** Where its tags come from. */
  readonly tags: 'the call' | 'the value' | 'the load'
  readonly adapts?: AdaptiveOptions
  readonly isKept?: boolean
  /** Whether it answers `notModified` where the rows are what they were. */
  readonly asksWhetherModified?: boolean
  readonly shape: Shape
  /** Whether its inner reads are told whether what they are given is stale. */
  readonly asks?: boolean
}

export type Shape =
  | 'plain'
  | 'with what freezing cannot protect'
  | 'an instance of a class'
  | 'too large for L2'
  | 'too large for L1'

export interface Asker {
  readonly client: number
  readonly node: number
}

export type Read = Asker & {
  readonly kind: 'read'
  readonly cache: CacheName
  readonly keys: readonly string[]
  readonly how: 'getOrCreate' | 'getMany' | 'get' | 'peek'
  readonly call: Call
  readonly load: LoadPlan
  /** Whether the caller tries to change what it is given. */
  readonly spoils: boolean
}

export type Write = Asker & {
  readonly kind: 'write'
  readonly row: string
  readonly group: string
  /** What the event names. */
  readonly names: 'the key' | 'the row’s tag' | 'the groups' | 'nothing that is known'
  readonly ends: 'commits' | 'rolls back' | 'rolls a savepoint back, and commits'
  /** Whether it reads the row through the cache, after it has changed it. */
  readonly reads: boolean
  readonly deletes: boolean
}

/** Stores what it has read from the database. */
export type SetByHand = Asker & {
  readonly kind: 'set'
  readonly keys: readonly string[]
  readonly stamped: boolean
  readonly betweenMs: number
}

/** By hand. */
export type Invalidate = Asker & {
  readonly kind: 'invalidate'
  readonly mode: 'remove' | 'expire'
  readonly what:
    | { readonly cache: CacheName; readonly keys: readonly string[] }
    | { readonly tags: readonly string[] }
    | { readonly cleared: CacheName | 'all' }
}

/** What lies outside changes, and whoever changed it says so afterwards. */
export type ChangeOrigin = Asker & {
  readonly kind: 'change origin'
  readonly row: string
  readonly mode: 'remove' | 'expire'
  readonly by: 'key' | 'tag' | 'clear'
}

/** Many callers at once of a key that is cold, while nothing else happens. */
export type Burst = {
  readonly kind: 'burst'
  readonly row: string
  readonly nodes: readonly number[]
  readonly callers: number
}

export type Trouble = {
  readonly kind: 'trouble'
  readonly what:
    | 'L2 is emptied'
    | 'L2 is saved'
    | 'L2 is set back'
    | 'L2 fails'
    | 'L2 is slow'
    | 'L2 hangs'
    | 'L2 works again'
    | 'hints are lost'
    | 'hints are delayed'
    | 'hints arrive again'
    | 'Postgres goes'
    | 'Postgres comes'
    | 'Postgres restarts'
}

/** A node's machine is suspended: its lease runs out unnoticed by its monotonic clock. */
export type Suspend = { readonly kind: 'suspend'; readonly node: number; readonly ms: number }

/** A node reaches neither Postgres nor the others for so long, which nobody tells it. */
export type CutOff = { readonly kind: 'cut off'; readonly node: number; readonly ms: number }

export type Action = Read | Write | SetByHand | Invalidate | ChangeOrigin | Burst | Trouble | Suspend | CutOff

export interface Step {
  /** Milliseconds that pass before it. Steps do not wait for each other. */
  readonly afterMs: number
  readonly action: Action
}

/** One run, down to the last detail: the same sequence gives the same answers. */
export interface Sequence {
  readonly seed: number
  readonly nodes: number
  /** Which clients send the token of their last answer. */
  readonly tokens: readonly boolean[]
  readonly entries: Readonly<Record<CacheName, Partial<EntryOptions>>>
  /** Whether the absence of a row is kept. */
  readonly keepsAbsence: boolean
  readonly maxEntries: number
  readonly slowReplies: boolean
  readonly steps: readonly Step[]
}
