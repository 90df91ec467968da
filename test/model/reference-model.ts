import type { JournalMessage } from '../../src/kernel/journal/journal.js'
import { directTag } from './cluster.js'
import type { Load, Place } from './ledger.js'
import type { CacheName } from './sequence.js'

/** What an invalidation does to what it reaches, from the mildest to the worst. */
export type Effect = 'expired' | 'superseded' | 'removed'

interface Invalidation {
  readonly position: number
  readonly effect: Effect
  /** Whether it names something that a load depends on. */
  readonly reaches: (load: Load) => boolean
}

/** Every invalidation by its position, as the documentation says what it means. */
export class Invalidations {
  readonly #byEpoch = new Map<string, Map<number, Invalidation>>()

  add({ position, type, payload }: JournalMessage, epoch: string): void {
    const known = this.#byEpoch.get(epoch) ?? new Map<number, Invalidation>()
    this.#byEpoch.set(epoch, known)
    if (!known.has(position)) known.set(position, { position, ...meaningOf(type, payload) })
  }

  /**
   * The worst that has happened to a value up to a place, since its load began. The load may have been renewed since, or be a
   * `set`, which counts from its own message on, if nothing came between that and what it had read.
   *
   * @param before another place that it is to be judged from, if that is earlier
   */
  worstSince(load: Load, now: Place, before: Place = load.began): Effect | undefined {
    const known = this.#byEpoch.get(now.epoch)
    const own = load.renewals.reduce((latest, { place }) => later(latest, place), load.began)
    const began = before === load.began || later(own, before) === before ? own : before
    // Another history: nothing of the old one is left. Epochs only rise; the node of a newer one has gone ahead.
    if (began.epoch !== now.epoch) return began.epoch < now.epoch ? 'removed' : undefined
    let worst: Effect | undefined
    for (const { position, effect, reaches } of known?.values() ?? []) {
      if (position <= began.position || position > now.position) continue
      if (position === load.setAt?.position && began === own) continue
      if (reaches(load)) worst = worse(worst, effect)
    }
    return worst
  }
}

const order: readonly Effect[] = ['expired', 'superseded', 'removed']

export function worse(one: Effect | undefined, other: Effect): Effect {
  return one && order.indexOf(one) > order.indexOf(other) ? one : other
}

/** What somebody invalidates by hand, as its message says it. */
export function reachedBy(payload: InvalidationPayload): (load: Load) => boolean {
  return meaningOf('cache.invalidated', payload).reaches
}

function later(one: Place, other: Place): Place {
  return other.epoch > one.epoch || other.position > one.position ? other : one
}

export interface InvalidationPayload {
  readonly cache?: CacheName
  readonly keys?: readonly string[]
  readonly tags?: readonly string[]
  readonly all?: boolean
  readonly mode?: 'remove' | 'expire' | 'supersede'
}

const effects = { remove: 'removed', expire: 'expired', supersede: 'superseded' } as const

function meaningOf(type: string, payload: unknown): Omit<Invalidation, 'position'> {
  const { cache, keys = [], tags = [], all, mode = 'remove' } = payload as InvalidationPayload
  switch (type) {
    case 'cache.invalidated':
      return {
        effect: effects[mode],
        reaches: (load) =>
          (cache === undefined && tags.length === 0) ||
          (cache === load.cache && (all === true || keys.includes(load.key))) ||
          tags.some((tag) => load.tags.has(tag)),
      }
    case 'thing.changed':
      return {
        effect: 'superseded',
        reaches: (load) =>
          (load.cache === 'row' && keys.includes(load.key)) ||
          [...tags, ...keys.map(directTag)].some((tag) => load.tags.has(tag)),
      }
    case 'thing.broken':
      return { effect: 'superseded', reaches: () => true }
    default:
      return { effect: 'superseded', reaches: () => false }
  }
}
