import type { Stamp } from '../journal/applied-journal.js'

/** What a copy is still good for; more is better. */
export const use = {
  /** Removed, or of no use to fail-safe any more. */
  none: 0,
  /** Older than a committed write: for fail-safe, where that is allowed. */
  invalidated: 1,
  /** Past its time: for fail-safe. */
  expired: 2,
  /** To be served. */
  fresh: 3,
} as const

interface Loaded {
  /** Where the load began. */
  readonly stamp: Stamp
  /** When it ended, in ms of the cluster's clock. */
  readonly loadedAt: number
}

/** A copy of a key's value, as far as it matters for which of two is held. */
export interface Copy extends Loaded {
  readonly freshUntil: number
  readonly use: (typeof use)[keyof typeof use]
}

/**
 * The one rule for which of two copies of a key memory holds. A copy takes another's place unless its load was the earlier
 * one, or unless it is of less use: what is served is not given up for what cannot be, nor what fail-safe may answer for what
 * it may not. Of two copies of the same load, the one that is to be served for longer is held.
 */
export function displaces(offered: Copy, present: Copy): boolean {
  if (isOlder(offered, present)) return false
  if (offered.use !== present.use) return offered.use > present.use
  const { position } = present.stamp
  if (offered.stamp.position !== position) return offered.stamp.position > position
  if (offered.loadedAt !== present.loadedAt) return true
  return offered.use === use.fresh && offered.freshUntil > present.freshUntil
}

/**
 * Whether a value's load was the earlier one for certain. One that began at a lower position and ended later may have been made
 * by a node that lags, and not be older at all; positions of two epochs do not compare.
 */
export function isOlder(one: Loaded, other: Loaded): boolean {
  return (
    one.stamp.epoch === other.stamp.epoch &&
    one.stamp.position <= other.stamp.position &&
    one.loadedAt <= other.loadedAt &&
    (one.stamp.position < other.stamp.position || one.loadedAt < other.loadedAt)
  )
}
