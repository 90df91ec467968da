import { Caches } from '../../src/kernel/cache/caches.js'
import { defaultEntryOptions } from '../../src/kernel/cache/entry-options.js'
import type { HybridCache } from '../../src/kernel/cache/hybrid-cache.js'
import type { HandlerRegistry } from '../../src/kernel/cqrs/handler-registry.js'
import { query } from '../../src/kernel/cqrs/message.js'
import { QueryBus } from '../../src/kernel/cqrs/query-bus.js'
import { type DomainEvent, z } from '../../src/kernel/domain/index.js'
import { on } from '../../src/kernel/journal/invalidation-rules.js'
import type { JournalMessage } from '../../src/kernel/journal/journal.js'
import { History } from '../consistency/history.js'
import { type Caller, PostgresModel } from '../consistency/postgres-model.js'
import { RandomNumbers } from '../consistency/random-numbers.js'
import { RedisModel } from '../consistency/redis-model.js'
import { Scheduler, type Step, settled } from '../consistency/scheduler.js'
import { ServiceNode } from '../consistency/service-node.js'
import { MachineClock, SimulatedTime } from '../consistency/simulated-time.js'
import { ThingBroken, ThingChanged } from '../consistency/things.js'
import type { LoadedValue } from './ledger.js'
import { type CacheName, cacheNames, originRows, rows, type Sequence, type Trouble } from './sequence.js'

export type TestCache = HybridCache<LoadedValue | null>

/** One node under test, with the caches of the sequence. */
export interface TestNode {
  readonly index: number
  readonly caller: Caller
  readonly clock: MachineClock
  readonly service: ServiceNode
  readonly all: Caches
  readonly caches: Readonly<Record<CacheName, TestCache>>
  readonly queryBus: QueryBus
}

/** A query that is not cached itself, and does what is asked of it. */
export class Ask extends query(z.object({ work: z.custom<() => Promise<void>>() })).returning<void>() {}

/** Values are counted by their size only where their load says it. */
export const maxEntryBytes = 1_000_000

export const rowTag = (row: string): string => `row:${row}`
export const groupTag = (group: string): string => `group:${group}`
/** Carried by what reads a row from the database rather than from `row`. */
export const directTag = (row: string): string => `direct:${row}`

/** Told what the nodes do. */
export interface Observer {
  /** A node is about to apply a message. */
  applies(message: JournalMessage, epoch: string): void
  /** A cache writes to the outbox. */
  writes(payloads: readonly unknown[]): void
}

/** Milliseconds that each thing takes, one way. */
const untroubled = { postgres: 2, l2: 1, hints: 1 }
const longestHintDelayMs = 900
const slowL2Ms = 150
const hangingL2Ms = 5_000

/**
 * Nodes over models of Postgres and Redis. Whatever they ask for takes its time, and happens in the order of these times: a
 * sequence runs in simulated time, always in the same way.
 */
export class SimulatedCluster {
  readonly nodes: readonly TestNode[]
  readonly history = new History()
  readonly postgres: PostgresModel
  /** The last time at which Postgres could not be reached, in ms. */
  postgresWasAwayAt = Number.NEGATIVE_INFINITY
  /** The last time at which L2 or the hints were in trouble. */
  redisWasInTroubleAt = Number.NEGATIVE_INFINITY
  readonly #redis: RedisModel
  #versions = 0
  readonly #scheduler = new Scheduler()
  readonly #time = new SimulatedTime()
  readonly #random: RandomNumbers
  readonly #due = new WeakMap<Step, number>()
  readonly #lastL2 = new Map<string | undefined, number>()
  readonly #cutOffUntil = new Map<string | undefined, number>()
  #l2: 'works' | 'fails' | 'is slow' | 'hangs' = 'works'
  #hints: 'arrive' | 'are lost' | 'are delayed' = 'arrive'

  constructor(
    private readonly sequence: Sequence,
    private readonly observer: Observer,
  ) {
    const { seed, nodes, slowReplies } = sequence
    this.#random = new RandomNumbers(seed)
    this.postgres = new PostgresModel(this.#scheduler, this.#time, this.history, {
      slowNumbering: slowReplies,
      slowReplies,
    })
    this.#redis = new RedisModel(this.#scheduler, { copiesOfHints: 1, hearsItself: true, slowReplies })
    for (const row of [...rows, ...originRows]) this.postgres.create(row, `${row}#0@g1`)
    this.nodes = Array.from({ length: nodes }, (_, index) => this.#node(index))
  }

  /** A new value of a row. */
  nextVersion(row: string, group: string): string {
    return `${row}#${++this.#versions}@${group}`
  }

  get now(): number {
    return this.#time.now
  }

  /** Every node has made its first check. */
  async start(): Promise<void> {
    const starting = this.nodes.map(({ service }) => service.start())
    await this.until(Promise.all(starting), 60_000)
  }

  /** Lets so much time pass, and happen what is due in it. */
  async pass(ms: number): Promise<void> {
    const end = this.#time.now + ms
    await settled()
    for (let next = this.#next(); next && next.due <= end; next = this.#next()) await this.#perform(next)
    this.#time.now = Math.max(this.#time.now, end)
  }

  /** @returns false if it has not ended after so much time */
  async until(work: Promise<unknown>, atMostMs: number): Promise<boolean> {
    let over = false
    const end = (): void => {
      over = true
    }
    work.then(end, end)
    await settled()
    const limit = this.#time.now + atMostMs
    while (!over) {
      const next = this.#next()
      if (!next || next.due > limit) return false
      await this.#perform(next)
    }
    return true
  }

  suspend(node: number, ms: number): void {
    this.nodes[node]?.clock.suspend(ms)
  }

  /** Only where a numbering is one statement: in its middle, a node that is cut off would hold all others up. */
  cutOff(node: number, ms: number): void {
    const name = this.nodes[node]?.service.name
    if (name && !this.sequence.slowReplies) this.#cutOffUntil.set(name, this.now + ms)
  }

  trouble(what: Trouble['what']): void {
    this.#noteTrouble()
    switch (what) {
      case 'L2 is emptied':
        this.#redis.restartEmpty()
        break
      case 'L2 is saved':
        this.#redis.save()
        break
      case 'L2 is set back':
        this.#redis.restore()
        break
      case 'L2 fails':
        this.#l2 = 'fails'
        this.#redis.isDown = true
        break
      case 'L2 is slow':
        this.#l2 = 'is slow'
        break
      case 'L2 hangs':
        this.#l2 = 'hangs'
        break
      case 'L2 works again':
        this.#l2 = 'works'
        this.#redis.isDown = false
        break
      case 'hints are lost':
        this.#hints = 'are lost'
        break
      case 'hints are delayed':
        this.#hints = 'are delayed'
        break
      case 'hints arrive again':
        this.#hints = 'arrive'
        break
      case 'Postgres goes':
        this.postgres.isDown = true
        this.postgres.loseConnections()
        break
      case 'Postgres comes':
        this.postgres.isDown = false
        break
      case 'Postgres restarts':
        this.postgres.failOver(0)
        this.postgresWasAwayAt = this.now
        break
    }
  }

  calm(): void {
    this.#cutOffUntil.clear()
    this.trouble('L2 works again')
    this.trouble('hints arrive again')
    this.trouble('Postgres comes')
  }

  #noteTrouble(): void {
    const isAnyCutOff = [...this.#cutOffUntil.values()].some((until) => this.now < until)
    if (this.postgres.isDown || isAnyCutOff) this.postgresWasAwayAt = this.now
    if (this.#l2 !== 'works' || this.#hints !== 'arrive') this.redisWasInTroubleAt = this.now
  }

  async #perform({ step, due }: { step: Step; due: number }): Promise<void> {
    this.#time.now = Math.max(this.#time.now, due)
    this.#noteTrouble()
    await this.#scheduler.perform(step)
  }

  #next(): { step: Step; due: number } | undefined {
    let next: { step: Step; due: number } | undefined
    for (const step of [...this.#scheduler.parked]) {
      const due = this.#dueOf(step)
      if (due === undefined || (next && due >= next.due) || !this.#isReady(step)) continue
      next = { step, due }
    }
    return next
  }

  #isReady(step: Step): boolean {
    // A timer is ready once its time has come, which is when it is due.
    return 'until' in step || step.ready === undefined || step.ready()
  }

  /** @returns undefined for what never happens */
  #dueOf(step: Step): number | undefined {
    if ('until' in step) {
      const node = this.nodes.find(({ service }) => service.name === step.node)
      return node && this.#time.now + (MachineClock.msUntil(step, node.clock) ?? 0)
    }
    const due = this.#due.get(step) ?? this.#time.now + this.#takesMs(step)
    this.#due.set(step, due)
    return isOfL2(step) ? due : Math.max(due, this.#cutOffUntil.get(step.node) ?? 0)
  }

  #takesMs(step: Step): number {
    const { id, owner } = step
    if (id.startsWith('hint ')) {
      if (this.#hints === 'are lost') return Number.POSITIVE_INFINITY
      return this.#hints === 'are delayed' ? this.#random.below(longestHintDelayMs) : untroubled.hints
    }
    if (!isOfL2(step)) return untroubled.postgres
    const ms = { works: untroubled.l2, fails: untroubled.l2, 'is slow': slowL2Ms, hangs: hangingL2Ms }[
      this.#l2
    ]
    // One connection: what was sent later is not answered earlier.
    const due = Math.max(this.#time.now + ms, this.#lastL2.get(owner) ?? 0)
    this.#lastL2.set(owner, due)
    return due - this.#time.now
  }

  #node(index: number): TestNode {
    const name = `node ${index + 1}`
    let requests = 0
    const caller: Caller = { name, nextRequest: () => `${name}.${++requests}` }
    const clock = new MachineClock(this.#time, this.#scheduler, name)
    const service = new ServiceNode(
      {
        name,
        journal: this.postgres.journalOf(caller),
        connections: this.postgres.connectionsOf(caller),
        hints: this.#redis.hintsOf(caller, () => false),
        shared: this.#redis.tierOf(caller, Number.POSITIVE_INFINITY),
        clock,
      },
      { entry: {}, replayAtStart: 1_000, checksByItself: true, busyNodes: false, slots: 4_096 },
    )
    // Whatever a listener does is its own affair.
    for (const event of ['hit', 'miss', 'loadFailed', 'staleServed'] as const)
      service.dependencies.events.on(event, async () =>
        Promise.reject(new Error(`a listener of ${event} fails`)),
      )
    service.applied.onMessage((message) => this.observer.applies(message, service.applied.epoch))
    const outbox = {
      write: (events: readonly DomainEvent[]) => {
        this.observer.writes(events.map(({ payload }) => payload))
        return service.dependencies.outbox.write(events)
      },
    }
    const all = new Caches({ ...service.dependencies, outbox }, service.rules, {
      entry: defaultEntryOptions,
      limits: { maxEntries: this.sequence.maxEntries, maxEntryBytes },
    })
    const caches = Object.fromEntries(cacheNames.map((cache) => [cache, this.#cache(all, cache)]))
    const ask = { handler: { execute: ({ work }: Ask) => work() }, declaration: {} }
    const handlers = { queries: new Map([[Ask, ask]]) } as unknown as HandlerRegistry
    const queryBus = new QueryBus(handlers, all)
    return { index, caller, clock, service, all, queryBus, caches: caches as TestNode['caches'] }
  }

  #cache(all: Caches, name: CacheName): TestCache {
    const changed = on(ThingChanged, ({ keys = [], tags = [] }) => ({
      keys: name === 'row' ? keys : [],
      tags: [...tags, ...keys.map(directTag)],
    }))
    // Whatever it means, it may concern every entry.
    const broken = on(ThingBroken, () => {
      throw new Error('a mapping that throws')
    })
    return all.add<LoadedValue | null, string>({
      name,
      invalidatedBy: [changed, broken],
      ...(this.sequence.keepsAbsence && { createdBy: [changed] }),
      ...this.sequence.entries[name],
    })
  }
}

function isOfL2({ id }: Step): boolean {
  return / (L2|what L2|the load lock) /.test(id)
}
