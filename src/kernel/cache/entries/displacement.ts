import type { Stamp } from '../../journal/applied-journal.js'

/** What a copy can still be used for. A higher number is better. */
export const use = {
  /** Nothing: it was removed, or its time for fail-safe is over. */
  none: 0,
  /** Fail-safe that allows invalidated values: it is older than a committed write. */
  invalidated: 1,
  /** Fail-safe: it has expired. */
  expired: 2,
  /** Any read. */
  fresh: 3,
} as const

interface Loaded {
  /** Where the load began. */
  readonly stamp: Stamp
  /** When it ended, in ms of the cluster's clock. */
  readonly loadedAt: number
}

/** What decides which of two copies of a value memory holds. */
export interface Copy extends Loaded {
  readonly freshUntil: number
  readonly use: (typeof use)[keyof typeof use]
}

/**
 * The one rule for which of two copies of a key's value memory holds. The offered copy replaces the present one unless its load
 * was earlier, or its use is lower: a fresh copy is never given up for a stale one, nor a copy that fail-safe may answer for
 * one that it may not. Of two fresh copies of the same load, memory holds the one that stays fresh for longer.
 */
export function displaces(offered: Copy, present: Copy): boolean {
  if (isOlder(offered, present)) return false
  if (offered.use !== present.use) return offered.use > present.use
  const { position } = present.stamp
  if (offered.stamp.position !== position) return offered.stamp.position > position
  if (offered.loadedAt !== present.loadedAt) return offered.loadedAt > present.loadedAt
  return offered.use === use.fresh && offered.freshUntil > present.freshUntil
}

/**
 * Whether the load of `one` was certainly the earlier one. A load that began at a lower position but ended later may be the work
 * of a node that lags, and its value may be no older. Positions of different epochs cannot be compared.
 */
export function isOlder(one: Loaded, other: Loaded): boolean {
  return (
    one.stamp.epoch === other.stamp.epoch &&
    one.stamp.position <= other.stamp.position &&
    one.loadedAt <= other.loadedAt &&
    (one.stamp.position < other.stamp.position || one.loadedAt < other.loadedAt)
  )
}
