import type { ReadOptions } from '../../src/kernel/cache/cache-options.js'
import type { EntryOptions } from '../../src/kernel/cache/entry-options.js'
import { defaultEntryOptions } from '../../src/kernel/cache/entry-options.js'
import type { LoadContext } from '../../src/kernel/cache/load-context.js'
import { currentScope, inScope } from '../../src/kernel/persistence/transaction-scope.js'
import { selectSql, updateSql } from '../consistency/postgres-model.js'
import { maximumPayloadBytes } from '../consistency/redis-model.js'
import { ThingChanged } from '../consistency/things.js'
import {
  Ask,
  directTag,
  groupTag,
  maxEntryBytes,
  rowTag,
  type SimulatedCluster,
  type TestNode,
} from './cluster.js'
import { type Changeable, type Ledger, type Load, type LoadedValue, type RowRead, textOf } from './ledger.js'
import { effectiveOptions } from './node-memory.js'
import { type CacheName, type Call, type LoadPlan, originRows, type Sequence } from './sequence.js'

/** How a factory fails that is told to. */
export class LoadFailed extends Error {}

const hangsForMs = 30_000
const bulk = 'x'.repeat(maximumPayloadBytes)

/** Any; it is not to be changed by who is given it. */
function changeable(): Changeable {
  return {
    at: new Date(1_700_000_000_000),
    map: new Map([['one', { n: 1 }]]),
    set: new Set(['one']),
    bytes: new Uint8Array([1, 2, 3]),
  }
}

class ValueOfClass implements LoadedValue {
  declare readonly load: number
  declare readonly rows: LoadedValue['rows']
  declare readonly absent: readonly string[]
  declare readonly madeOf: readonly number[]
}

type Context = LoadContext<LoadedValue | null>

/** What the factories of a run do, and what its ledger is told of it. */
export class Factories {
  constructor(
    private readonly sequence: Sequence,
    private readonly cluster: SimulatedCluster,
    private readonly ledger: Ledger,
  ) {}

  optionsOf(cache: CacheName, { entry = {} }: Call): EntryOptions {
    return { ...defaultEntryOptions, ...this.sequence.entries[cache], ...entry }
  }

  /** What goes along with a read beside its factory. */
  readOptions(
    cache: CacheName,
    key: string,
    { entry }: Call,
    plan: LoadPlan,
  ): ReadOptions<LoadedValue | null> {
    const tagsOf = (value: LoadedValue | null): readonly string[] =>
      value ? tagsOfRows(cache, value.rows) : tagsOfAbsence(cache, key)
    return {
      ...(entry && { entry }),
      ...(plan.tags === 'the call' && { tags: tagsBefore(cache, key) }),
      ...(plan.tags !== 'the load' && { tagsOf }),
    }
  }

  getOrCreate(
    node: TestNode,
    cache: CacheName,
    key: string,
    plan: LoadPlan,
    call: Call,
    options: ReadOptions<LoadedValue | null> = {},
  ): Promise<LoadedValue | null> {
    return node.caches[cache].getOrCreate(
      key,
      (context) => this.#load(node, cache, key, plan, this.optionsOf(cache, call), { context }),
      { ...this.readOptions(cache, key, call, plan), ...options },
    )
  }

  getMany(
    node: TestNode,
    cache: CacheName,
    keys: readonly string[],
    plan: LoadPlan,
    call: Call,
    options: ReadOptions<LoadedValue | null> = {},
  ): Promise<Map<string, LoadedValue | null>> {
    // There is no context to tag with, and no key that the call could know.
    const byValue: LoadPlan = { ...plan, tags: 'the value' }
    // `tagsOf` is not called for what is left out.
    const tags = keys.flatMap((key) => tagsOfAbsence(cache, key))
    return node.caches[cache].getMany(
      keys,
      async (missing) => {
        const begun: Load[] = []
        const loading = missing.map(async (key) => {
          const value = await this.#load(node, cache, key, byValue, this.optionsOf(cache, call), { begun })
          return [key, value] as const
        })
        try {
          const found = (await settledAll(loading)).filter(([, value]) => value !== null)
          for (const load of begun) load.dependsOnMore ||= missing.length > 1
          return new Map(found)
        } catch (error) {
          for (const load of begun) load.failed = true
          throw error
        } finally {
          // All of one call end once the last of them does.
          for (const load of begun) load.endedAt = this.cluster.now
        }
      },
      { ...this.readOptions(cache, '', call, byValue), tags, ...options },
    )
  }

  async readRow({ caller }: TestNode, row: string): Promise<string | null> {
    if (currentScope()) {
      const own = await inScope(
        ({ manager }) => manager.query(selectSql, [row]) as Promise<(string | null)[]>,
      )
      if (own.length > 0) return own[0] as string | null
    }
    return this.cluster.postgres.read(caller, row)
  }

  async #load(
    node: TestNode,
    cache: CacheName,
    key: string,
    plan: LoadPlan,
    options: EntryOptions,
    { context, begun }: { readonly context?: Context; readonly begun?: Load[] },
  ): Promise<LoadedValue | null> {
    const load = this.ledger.begin({
      cache,
      key,
      node: node.index,
      options,
      beganAt: this.cluster.now,
      began: node.service.applied.stamp(),
      tags: plan.tags === 'the call' ? tagsBefore(cache, key) : [],
    })
    begun?.push(load)
    try {
      const value = await this.#run(node, load, plan, context)
      load.endedAt = this.cluster.now
      return value
    } catch (error) {
      load.endedAt = this.cluster.now
      load.failed = true
      throw error
    }
  }

  async #run(
    node: TestNode,
    load: Load,
    plan: LoadPlan,
    context: Context | undefined,
  ): Promise<LoadedValue | null> {
    const { cache, key } = load
    if (plan.beforeMs > 0) await node.clock.sleep(plan.beforeMs)
    if (cache === 'row' || cache === 'origin') load.rows.push([key, await this.readRow(node, key)])
    else await this.#readParts(node, load, plan)
    if (plan.ends === 'after half a minute') await node.clock.sleep(hangsForMs)
    else if (plan.afterMs > 0) await node.clock.sleep(plan.afterMs)
    if (plan.ends === 'by throwing') throw new LoadFailed(`${cache} ${key}`)
    const isAbsent = load.madeOf.length === 0 && load.rows.every(([, value]) => value === null)
    if (isAbsent) {
      if (context && plan.tags === 'the load') context.tag(...tagsOfAbsence(cache, key))
      return null
    }
    for (const tag of tagsOfRows(cache, load.rows)) load.tags.add(tag)
    if (context) {
      if (plan.tags === 'the load') context.tag(...tagsOfRows(cache, load.rows))
      const renewed = plan.asksWhetherModified && this.#notModified(load, context)
      if (renewed) return renewed
      this.#decide(load, plan, context)
    }
    const value: LoadedValue = {
      load: load.id,
      rows: load.rows.map(([row, read]) => [row, read] as const),
      absent: [...load.absent],
      madeOf: [...load.madeOf],
      ...(plan.shape === 'with what freezing cannot protect' && { changeable: changeable() }),
      ...(plan.shape === 'too large for L2' && { bulk }),
    }
    load.text = textOf(value)
    return plan.shape === 'an instance of a class' ? Object.assign(new ValueOfClass(), value) : value
  }

  #decide(load: Load, plan: LoadPlan, context: Context): void {
    const adapts = {
      ...plan.adapts,
      ...(plan.shape === 'too large for L1' && { sizeBytes: maxEntryBytes + 1 }),
    }
    if (Object.keys(adapts).length > 0) context.adapt(adapts)
    load.adapted = adapts
    if (plan.isKept === false) context.doNotStore()
    load.isKept =
      plan.isKept !== false && plan.shape !== 'too large for L1' && !effectiveOptions(load).skipL1Write
  }

  /** The origin is asked whether the value of an earlier load still holds; only for rows, which say so by their version. */
  #notModified(load: Load, context: Context): LoadedValue | null | undefined {
    const { previous } = context
    if (!previous?.value || load.madeOf.length > 0) return undefined
    const earlier = this.ledger.get(previous.value.load)
    if (!earlier || earlier.madeOf.length > 0 || textOf(earlier.rows) !== textOf(load.rows)) return undefined
    earlier.renewals.push({ at: this.cluster.now, place: load.began, ttlMs: load.options.l2TtlMs })
    return context.notModified()
  }

  async #readParts(node: TestNode, load: Load, plan: LoadPlan): Promise<void> {
    const innerPlan: LoadPlan = {
      ...plan,
      ends: plan.innerEnds ?? 'well',
      isKept: true,
      asksWhetherModified: false,
      shape: 'plain',
      adapts: {},
    }
    if (load.cache === 'book') {
      await this.#readPart(node, load, 'page', [load.key], plan, innerPlan)
      await this.#readPart(node, load, 'row', ['c'], plan, innerPlan)
      return
    }
    const parts = [...load.key]
    const outside = parts.filter((part) => originRows.includes(part))
    const inside = parts.filter((part) => !originRows.includes(part))
    if (outside.length > 0) await this.#readPart(node, load, 'origin', outside, plan, innerPlan)
    if (plan.way === 'the database') {
      for (const row of inside) load.rows.push([row, await this.readRow(node, row)])
    } else if (inside.length > 0) await this.#readPart(node, load, 'row', inside, plan, innerPlan)
  }

  async #readPart(
    node: TestNode,
    load: Load,
    cache: CacheName,
    keys: readonly string[],
    { way, asks }: LoadPlan,
    plan: LoadPlan,
  ): Promise<void> {
    const options = this.optionsOf(cache, {})
    load.mayBeMadeOfStale ||= options.failSafe
    const took = (key: string, value: LoadedValue | null | undefined): void => {
      if (value) {
        load.madeOf.push(value.load)
        const part = this.ledger.get(value.load)
        load.mayBeMadeOfStale ||= (part?.mayBeMadeOfStale || part?.adapted.failSafe) ?? false
        return
      }
      load.absent.push(...key)
      load.dependsOnMore = true
    }
    const consistency = asks ? node.service.request(undefined) : undefined
    const getMany = async (): Promise<void> => {
      const values = await this.getMany(node, cache, keys, plan, {}, { consistency })
      for (const key of keys) took(key, values.get(key))
    }
    const getEach = async (
      present?: (key: string) => Promise<LoadedValue | null | undefined>,
      wanted = keys,
    ): Promise<void> => {
      for (const key of wanted)
        took(
          key,
          (await present?.(key)) ?? (await this.getOrCreate(node, cache, key, plan, {}, { consistency })),
        )
    }
    const inUnitOfWork = (work: () => Promise<void>) => node.service.unitOfWork.run(work)
    switch (way) {
      case 'getMany':
        await getMany()
        break
      case 'getMany in a unit of work':
        await inUnitOfWork(getMany)
        break
      case 'getOrCreate in a unit of work':
        await inUnitOfWork(getEach)
        break
      case 'getOrCreate in a unit of work that writes':
        await inUnitOfWork(async () => {
          for (const row of keys) if (cache === 'row') await this.#write(node, row)
          await getEach()
        })
        break
      case 'getOrCreate through a query':
        await node.queryBus.execute(new Ask({ work: getEach }))
        break
      case 'get, or else getOrCreate':
        await getEach((key) => node.caches[cache].get(key, { consistency }))
        break
      case 'peek, or else getOrCreate':
        await getEach(async (key) => node.caches[cache].peek(key))
        break
      case 'getOrCreate, caught when it fails':
        for (const key of keys) await this.#caught(node, load, cache, key, () => getEach(undefined, [key]))
        break
      default:
        await getEach()
    }
    load.madeOfStale ||= consistency?.stale !== undefined
  }

  async #write({ service }: TestNode, row: string): Promise<void> {
    const value = this.cluster.nextVersion(row, 'g1')
    const event = new ThingChanged({ operation: 'written by a load', keys: [row] })
    await service.unitOfWork.changeMany([event], (manager) => manager.query(updateSql, [row, value]))
  }

  /** The value shows that something could not be had: which is over as soon as that is invalidated. */
  async #caught(
    node: TestNode,
    load: Load,
    cache: CacheName,
    key: string,
    read: () => Promise<void>,
  ): Promise<void> {
    const beganAt = this.cluster.now
    const began = node.service.applied.stamp()
    try {
      await read()
    } catch (error) {
      if (!(error instanceof LoadFailed)) throw error
      load.dependsOnMore = true
      const options = this.optionsOf(cache, {})
      const attempt = this.ledger.begin({ cache, key, node: node.index, options, beganAt, began })
      attempt.endedAt = this.cluster.now
      load.madeOf.push(attempt.id)
    }
  }
}

/** Every promise is waited for, also where one of them rejects. */
async function settledAll<Value>(promises: readonly Promise<Value>[]): Promise<Value[]> {
  await Promise.allSettled(promises)
  return Promise.all(promises)
}

function tagsBefore(cache: CacheName, key: string): string[] {
  return cache === 'row' || cache === 'origin' ? [rowTag(key)] : []
}

/** The tags of a value that was made of these rows. */
function tagsOfRows(cache: CacheName, rows: readonly RowRead[]): string[] {
  return rows.flatMap(([row, value]) => [
    rowTag(row),
    ...(value === null ? [] : [groupTag(groupOf(value))]),
    ...(cache === 'row' || cache === 'origin' ? [] : [directTag(row)]),
  ])
}

/** A page that is not there is created by any of its rows. Other absences depend on what they were read from, or on their key. */
function tagsOfAbsence(cache: CacheName, key: string): string[] {
  return cache === 'page' ? [...key].map(directTag) : []
}

/** A row's value says which version it is, and of which group: `a#3@g1`. */
export function groupOf(value: string): string {
  return value.slice(value.indexOf('@') + 1)
}
