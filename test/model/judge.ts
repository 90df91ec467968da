import type { EntryOptions } from '../../src/kernel/cache/entry-options.js'
import type { AnswerSource, StaleAnswer } from '../../src/kernel/journal/consistency.js'
import type { History, Reign } from '../consistency/history.js'
import { maxStalenessMs } from '../consistency/service-node.js'
import {
  type Ledger,
  type Load,
  type LoadedValue,
  type Place,
  type RowRead,
  readsOf,
  textOf,
} from './ledger.js'
import { effectiveOptions, type NodeMemory } from './node-memory.js'
import { type Effect, type Invalidations, worse } from './reference-model.js'
import { type CacheName, originRows } from './sequence.js'
import type { Known } from './session.js'

/** An answer, or a failure, that the documentation does not allow. */
export class Violation extends Error {}

/** What was so when a request arrived. */
export interface Arrival {
  readonly at: number
  readonly node: number
  /** What its node had applied. */
  readonly place: Place
  readonly known: Known
}

export interface Answer {
  readonly cache: CacheName
  readonly key: string
  readonly value: LoadedValue | null
  readonly options: EntryOptions
  readonly source: AnswerSource | undefined
  readonly stale: StaleAnswer | undefined
  /** Whether the mark may be due to another key of the same request. */
  readonly isOneOfMany: boolean
}

/** Somebody has said that what lies outside has changed. */
interface Announcement {
  readonly version: number
  readonly at: number
}

/** Lives are counted by a clock that each node knows only as well as an answer from Postgres took. */
const clockToleranceMs = 50

/**
 * Decides whether an answer may be given. It knows no cache: only what was committed when, what each load has read, and
 * which invalidations its node had applied when the request arrived. An answer may be given if
 *
 * 1. each row in it, also of the values that it was made of, has once been committed as it is shown;
 * 2. it is what its load has made, whatever callers have tried to do to it, and of the key that was asked for;
 * 3. no invalidation that the node had applied reaches it, or any value that it was made of, after the load of that began. One
 *    that is marked may have expired; it may have been superseded if `allowInvalidated`, never removed;
 * 4. unmarked, each row in it was still current `maxStaleness` before the request arrived, and its time to live is not over;
 * 5. marked or not, it shows what the request's token stands for;
 * 6. it does not go back behind what the same node has answered before, where that was kept in memory;
 * 7. it is marked only where the call, the cache or the value's load allow fail-safe.
 *
 * What lies outside counts as changed once somebody has said so.
 */
export class Judge {
  readonly #announcements = new Map<string, Announcement[]>()

  constructor(
    private readonly history: History,
    private readonly ledger: Ledger,
    private readonly invalidations: Invalidations,
    /** Whether times to live can be told: not where a machine was suspended, whose clock stood still. */
    private readonly livesAreCounted: boolean,
    private readonly memory: NodeMemory,
  ) {}

  /** The number of a row's version; of an absence, the newest that it could be. */
  versionOf(row: string, value: string | null): number {
    const version = this.history.reignsOf(row).findLastIndex((reign) => reign.value === value)
    if (version < 0) throw new Violation(`${row} = ${value} was answered, and never committed`)
    return version
  }

  /** What has been committed so far, and said, if it lies outside. */
  newestOf(row: string): number {
    if (originRows.includes(row))
      return Math.max(0, ...(this.#announcements.get(row) ?? []).map(({ version }) => version))
    return this.history.reignsOf(row).length - 1
  }

  announced(row: string, announcement: Announcement): void {
    const known = this.#announcements.get(row) ?? []
    this.#announcements.set(row, [...known, announcement])
  }

  answered(arrival: Arrival, answer: Answer): void {
    const { cache, key, value, stale } = answer
    const fail = (why: string): never => {
      const shown = textOf(value).replace(/x{9,}/, '…')
      throw new Violation(
        `${cache} "${key}" = ${shown}${stale ? ` (marked ${stale.staleness})` : ''}: ${why}`,
      )
    }
    if (value === null) {
      for (const row of key) this.#rowRead(arrival, [row, null], answer, fail)
      return
    }
    const load = this.ledger.get(value.load)
    if (!load) throw fail('no load has made it')
    if (load.cache !== cache || load.key !== key) fail(`it belongs to ${load.cache} "${load.key}"`)
    if (load.text !== textOf(value)) fail(`somebody has changed it; its load made ${load.text}`)
    const parts = this.ledger.withParts(load)
    for (const part of parts) for (const read of readsOf(part)) this.#rowRead(arrival, read, answer, fail)
    this.#invalidated(arrival, answer, parts, fail)
    this.#marked(answer, load, fail)
    if (!stale) {
      this.#alive(arrival, load, fail)
      for (const part of parts) this.#madeOfFresh(part, fail)
    }
    this.#onward(arrival, answer, load, parts, fail)
  }

  #rowRead(
    { at, known }: Arrival,
    [row, value]: RowRead,
    { stale }: Answer,
    fail: (why: string) => never,
  ): void {
    const version = this.versionOf(row, value)
    const floor = known.versions.get(row) ?? 0
    if (version < floor)
      fail(`${row} = ${value} is version ${version}, and the client had seen or written ${floor}`)
    const endedAt = this.#endOf(row, version)
    if (!stale && endedAt !== undefined && at - endedAt > maxStalenessMs)
      fail(`${row} = ${value} had been replaced ${at - endedAt} ms before the request arrived`)
  }

  /** When others could know that a version is no longer current. */
  #endOf(row: string, version: number): number | undefined {
    if (!originRows.includes(row)) return (this.history.reignsOf(row)[version] as Reign).replacedAt
    const later = (this.#announcements.get(row) ?? []).filter((one) => one.version > version)
    return later.length > 0 ? Math.min(...later.map(({ at }) => at)) : undefined
  }

  #invalidated(
    { place, known }: Arrival,
    { stale, options }: Answer,
    parts: readonly Load[],
    fail: (why: string) => never,
  ): void {
    for (const part of parts) {
      const effect = this.invalidations.worstSince(part, place)
      const own = known.invalidations
        .filter(({ askedAt, reaches }) => loadedBy(part, askedAt) && reaches(part))
        .reduce<Effect | undefined>((worst, one) => worse(worst, one.effect), undefined)
      const name = `load ${part.id} of ${part.cache} "${part.key}"`
      if (effect && !mayShow(effect, stale, options, parts))
        fail(`${name} was ${effect} since it began, which this node had applied`)
      if (own) fail(`${name} was over before the client had it ${own}, which its token stands for`)
    }
  }

  #marked({ stale, options, isOneOfMany }: Answer, load: Load, fail: (why: string) => never): void {
    if (!stale) {
      if (load.madeOfStale) fail(`load ${load.id} was told that it was made of something stale`)
      return
    }
    if (!isOneOfMany && !options.failSafe && !load.adapted.failSafe && !load.mayBeMadeOfStale)
      fail('nobody has allowed fail-safe')
  }

  #alive({ at }: Arrival, load: Load, fail: (why: string) => never): void {
    const end = endOfLife(load)
    if (this.livesAreCounted && at > end + clockToleranceMs) fail(`its time was over ${at - end} ms before`)
  }

  /** What a load was given past its time was stale, and so is what it made of that. */
  #madeOfFresh(load: Load, fail: (why: string) => never): void {
    for (const id of load.madeOf) {
      const part = this.ledger.get(id)
      if (!part || part.failed || !this.livesAreCounted) continue
      const late = load.beganAt - endOfLife(part)
      if (late > clockToleranceMs)
        fail(`the time of load ${id}, which it is made of, had been over for ${late} ms`)
    }
  }

  #onward(
    { at, node }: Arrival,
    { cache, key }: Answer,
    load: Load,
    parts: readonly Load[],
    fail: (why: string) => never,
  ): void {
    for (const remembered of this.memory.all(node, cache, key)) {
      if (remembered.since >= at || remembered.load === load) continue
      const before = this.#versionsIn(this.ledger.withParts(remembered.load))
      for (const [row, version] of this.#versionsIn(parts)) {
        const seen = before.get(row)
        if (seen !== undefined && version < seen)
          fail(
            `this node has answered version ${seen} of ${row} before, and kept it (load ${remembered.load.id})`,
          )
      }
    }
  }

  #versionsIn(parts: readonly Load[]): ReadonlyMap<string, number> {
    const versions = new Map<string, number>()
    for (const part of parts) {
      for (const [row, value] of readsOf(part)) {
        const version = this.versionOf(row, value)
        versions.set(row, Math.min(versions.get(row) ?? version, version))
      }
    }
    return versions
  }
}

/** Ms at which the time of a value is over. */
function endOfLife(load: Load): number {
  const { l2TtlMs } = effectiveOptions(load)
  const lives = [{ at: load.endedAt ?? Number.POSITIVE_INFINITY, ttlMs: l2TtlMs }, ...load.renewals]
  return Math.max(...lives.map(({ at, ttlMs }) => at + ttlMs))
}

function loadedBy(load: Load, at: number): boolean {
  const endedAt = Math.max(load.endedAt ?? at, ...load.renewals.map((renewal) => renewal.at))
  return endedAt < at
}

function mayShow(
  effect: Effect,
  stale: StaleAnswer | undefined,
  { allowInvalidated }: EntryOptions,
  parts: readonly Load[],
): boolean {
  if (!stale || effect === 'removed') return false
  if (effect === 'expired') return true
  return allowInvalidated || parts.some((part) => part.mayBeMadeOfStale)
}
