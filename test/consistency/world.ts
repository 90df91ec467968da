import type { LoadContext } from '../../src/kernel/cache/load-context.js'
import type { DomainEvent } from '../../src/kernel/domain/index.js'
import type { Consistency } from '../../src/kernel/journal/consistency.js'
import type { ConsistencyToken } from '../../src/kernel/journal/consistency-token.js'
import { inScope } from '../../src/kernel/persistence/transaction-scope.js'
import { History } from './history.js'
import { type Arrival, Judge, Seen, type Sighting, Violation } from './judge.js'
import { type Caller, PostgresModel, selectSql, updateSql } from './postgres-model.js'
import { RedisModel } from './redis-model.js'
import {
  type Client,
  describeOperation,
  describeTrouble,
  type Operation,
  type Scenario,
  type Trouble,
  type Write,
} from './scenario.js'
import { Scheduler, type Step, settled } from './scheduler.js'
import { ServiceNode } from './service-node.js'
import { MachineClock, SimulatedTime } from './simulated-time.js'
import {
  NewerThingChanged,
  Perform,
  ThingBroken,
  ThingChanged,
  ThingCreated,
  ThingRenamed,
  tagOf,
} from './things.js'

/** One life of a node's process. */
interface Life extends Caller {
  readonly node: ServiceNode
  readonly clock: MachineClock
}

class RunningClient {
  next = 0
  busy = false
  token: ConsistencyToken | undefined

  constructor(
    readonly name: string,
    readonly client: Client,
    /** Counted only with tokens. */
    readonly seen: Seen,
  ) {}
}

class RolledBack extends Error {}

/** Nodes, servers, clients and troubles of one run, and the judge who watches. */
export class World {
  violation: Violation | undefined
  readonly scheduler = new Scheduler()
  readonly #time = new SimulatedTime()
  readonly #history = new History()
  readonly #postgres: PostgresModel
  readonly #redis: RedisModel
  readonly #judge: Judge
  readonly #lives: Life[] = []
  readonly #lifeCounts: number[] = []
  readonly #clients: RunningClient[]
  readonly #troublesDone: number[]

  constructor(private readonly scenario: Scenario) {
    this.#postgres = new PostgresModel(this.scheduler, this.#time, this.#history, scenario)
    this.#redis = new RedisModel(this.scheduler, scenario)
    this.#judge = new Judge(
      this.#history,
      this.#postgres,
      this.#time,
      scenario.entry.allowInvalidated === true,
    )
    for (const key of scenario.keys) this.#postgres.create(key, `${key}0`)
    for (const key of scenario.absentKeys) this.#postgres.create(key, null)
    this.#postgres.skipPositions(scenario.positionsBefore)
    this.#clients = scenario.clients.map(
      (client, index) => new RunningClient(`client ${index + 1}`, client, new Seen(this.#history)),
    )
    this.#troublesDone = scenario.troubles.map(() => 0)
  }

  /** Every node has made its first check. Not part of what is explored. */
  async begin(): Promise<void> {
    this.scheduler.atOnce = true
    for (let index = 0; index < this.scenario.nodes; index++) this.#start(index)
    await settled()
    this.scheduler.atOnce = false
  }

  /** Everything that could happen next. */
  enabled(): Step[] {
    const steps = this.scheduler.enabled()
    for (const client of this.#clients) {
      const step = this.#operationStep(client, client.next)
      if (step) steps.push(step)
    }
    this.scenario.troubles.forEach((_, list) => {
      const step = this.#troubleStep(list, this.#troublesDone[list] as number)
      if (step) steps.push(step)
    })
    return steps
  }

  /** A step by its name, also one that others were to come before: of a trace, parts may have been left out. */
  find(id: string): Step | undefined {
    const parked = this.scheduler.find(id)
    if (parked) return parked
    for (const client of this.#clients) {
      for (let index = client.next; index < client.client.operations.length; index++) {
        const step = this.#operationStep(client, index)
        if (step?.id === id) return step
      }
    }
    for (const [list, troubles] of this.scenario.troubles.entries()) {
      for (let index = this.#troublesDone[list] as number; index < troubles.length; index++) {
        const step = this.#troubleStep(list, index)
        if (step?.id === id) return step
      }
    }
    return undefined
  }

  async perform(step: Step): Promise<string | undefined> {
    return this.scheduler.perform(step)
  }

  /**
   * Troubles end, what was begun is finished, and every node makes a check: after that nothing old is left anywhere.
   * What is then asked needs no more than one order, so it is performed at once.
   */
  async end(): Promise<void> {
    this.#postgres.isDown = false
    this.#redis.isDown = false
    this.scheduler.resume()
    this.scheduler.drop(({ id }) => id.startsWith('hint '))
    await this.#finish(
      () => this.#clients.some(({ busy }) => busy) || this.#lives.some(({ node }) => !node.serving),
    )
    if (this.violation) return
    this.scheduler.atOnce = true
    // After a failed load, what is stale is answered for so long.
    this.#time.now += this.scenario.entry.failSafeThrottleMs ?? 0
    for (const life of this.#lives) {
      await this.#conclude(`the last check of ${life.name}`, () => life.node.check.run())
      this.#judging(() => this.#judge.caughtUp(life.node))
    }
    for (const { node } of this.#lives) {
      for (const key of [...this.scenario.keys, ...this.scenario.absentKeys]) {
        await this.#conclude(`the last read of ${key} on ${node.name}`, async () => {
          const value = await this.#read(node, key, node.request(undefined))
          this.#judging(() => this.#judge.finallyRead(node, key, value))
        })
      }
    }
  }

  async #conclude(what: string, work: () => Promise<void>): Promise<void> {
    let done = false
    work().then(
      () => {
        done = true
      },
      (error: unknown) => {
        done = true
        this.#judging(() => this.#judge.failed(what, error))
      },
    )
    await settled()
    await this.#finish(() => !done)
  }

  /** Performs what is waited for, in the order in which it was asked for, and lets time pass where only that helps. */
  async #finish(isWaiting: () => boolean): Promise<void> {
    for (let count = 0; isWaiting() && !this.violation; count++) {
      if (count > 3_000) {
        this.violation ??= new Violation(6, 'what was asked for is never answered')
        return
      }
      const step = this.scheduler.enabled()[0]
      if (step) await this.scheduler.perform(step)
      else if (!this.#passUntilNextTimer()) {
        this.violation ??= new Violation(6, 'a request waits for something that will never happen')
        return
      }
    }
  }

  #passUntilNextTimer(): boolean {
    const waits = this.#lives.flatMap(({ name, clock }) =>
      this.scheduler.parked.flatMap((step) =>
        step.node === name ? (MachineClock.msUntil(step, clock) ?? []) : [],
      ),
    )
    if (waits.length === 0) return false
    this.#time.now += Math.min(...waits)
    return true
  }

  #start(index: number): void {
    const count = (this.#lifeCounts[index] ?? 0) + 1
    this.#lifeCounts[index] = count
    const name = count === 1 ? `node ${index + 1}` : `node ${index + 1} (life ${count})`
    let requests = 0
    const caller: Caller = { name, nextRequest: () => `${name}.${++requests}` }
    const clock = new MachineClock(this.#time, this.scheduler, name)
    const node: ServiceNode = new ServiceNode(
      {
        name,
        journal: this.#postgres.journalOf(caller),
        connections: this.#postgres.connectionsOf(caller),
        hints: this.#redis.hintsOf(
          caller,
          ({ epoch, head }) => epoch === node.applied.epoch && head <= node.applied.position,
        ),
        shared: this.#redis.tierOf(caller, this.scenario.sharedTimeoutMs),
        clock,
      },
      this.scenario,
    )
    node.applied.onMessage(({ payload }) => {
      const { operation } = payload as { operation?: string }
      this.#judging(() => this.#judge.applied(operation))
    })
    this.#lives[index] = { ...caller, node, clock }
    node.start().catch(() => {})
  }

  #operationStep(client: RunningClient, index: number): Step | undefined {
    const operation = client.client.operations[index]
    if (!operation || client.busy) return undefined
    const life = this.#lives[operation.node]
    if (!life?.node.serving || this.scheduler.isPaused(life.name)) return undefined
    return {
      id: `${client.name} ${describeOperation(operation)} (${index + 1})`,
      node: life.name,
      reads: ['time'],
      writes: [client.name, life.name, ...(operation.kind === 'write' ? ['ids'] : [])],
      perform: () => {
        client.next = index + 1
        client.busy = true
        this.#operate(client, `${client.name}.${index + 1}`, operation, life)
        return undefined
      },
    }
  }

  #operate(client: RunningClient, id: string, operation: Operation, life: Life): void {
    const { node } = life
    const { tokens } = client.client
    const arrival = this.#judge.arrival(node, (key) => (tokens ? client.seen.of(key) : 0))
    const request = node.request(tokens ? client.token : undefined)
    this.#do(operation, id, node, request, arrival).then(
      (sightings) => this.#answer(client, life, () => this.#answered(client, request, node, sightings)),
      (error: unknown) =>
        this.#answer(client, life, () => this.#judge.failed(describeOperation(operation), error)),
    )
  }

  /** What a process that has crashed meanwhile would have answered reaches nobody. */
  #answer(client: RunningClient, life: Life, tell: () => void): void {
    if (!this.#lives.includes(life)) return
    client.busy = false
    this.#judging(tell)
  }

  #answered(
    client: RunningClient,
    { token }: Consistency,
    node: ServiceNode,
    sightings: readonly Sighting[],
  ): void {
    client.token = token ?? (node.applied.epoch === '' ? undefined : node.applied.stamp())
    client.seen.answered(sightings, client.token)
  }

  async #do(
    operation: Operation,
    id: string,
    node: ServiceNode,
    request: Consistency,
    arrival: Arrival,
  ): Promise<readonly Sighting[]> {
    const { cache } = node
    switch (operation.kind) {
      case 'read': {
        const value = await this.#read(node, operation.key, request)
        return this.#judged(() => [this.#judge.answered(arrival, rowOf(operation.key), value, request)])
      }
      case 'read many': {
        const values = await cache.getMany(
          operation.keys,
          async (missing) => {
            const loaded = new Map<string, string>()
            for (const key of missing) {
              const value = await this.#postgres.read(this.#lifeOf(node), key)
              if (value !== null) loaded.set(key, value)
            }
            return loaded
          },
          { consistency: request, tagsOf: (value) => (value ? [tagOf(value[0] as string)] : []) },
        )
        return this.#judged(() =>
          operation.keys.map((key) => this.#judge.answered(arrival, key, values.get(key) ?? null, request)),
        )
      }
      case 'write': {
        const { key, how } = operation
        const everythingUpTo = this.#history.moment
        await this.#write(node, key, how, id, request)
        const moment = how === 'fails' ? 0 : this.#momentOf(id, key)
        return moment === 0 ? [] : [{ key, moment, everythingUpTo }]
      }
      case 'set': {
        const stamp = cache.capture()
        const value = await this.#postgres.read(this.#lifeOf(node), operation.key)
        await cache.set(operation.key, value, { stamp, tags: [tagOf(operation.key)] })
        return []
      }
      case 'remove':
        await cache.remove(operation.key)
        return []
      case 'expire':
        await cache.expire(operation.key)
        return []
      case 'clear':
        await cache.clear()
        return []
      case 'check':
        await node.check.run()
        return []
    }
  }

  async #read(node: ServiceNode, key: string, consistency: Consistency): Promise<string | null> {
    const row = rowOf(key)
    if (row === key)
      return node.cache.getOrCreate(key, (context) => this.#load(node, key, context), { consistency })
    const part = () => node.cache.getOrCreate(row, (context) => this.#load(node, row, context))
    const inTransaction = async () => (await node.unitOfWork.run(part)).result
    return node.cache.getOrCreate(key, key.endsWith('*') ? inTransaction : part, { consistency })
  }

  async #load(node: ServiceNode, key: string, { tag }: LoadContext<string | null>): Promise<string | null> {
    const value = await this.#postgres.read(this.#lifeOf(node), key)
    // Known only once the value is.
    tag(tagOf(key))
    return value
  }

  async #write(
    node: ServiceNode,
    key: string,
    how: Write,
    operation: string,
    request: Consistency,
  ): Promise<void> {
    const { unitOfWork, commandBus, cache } = node
    const value = `${key}${operation.replace('client ', ':')}`
    const change = () =>
      unitOfWork.changeMany([eventOf(how, operation, key)], (manager) =>
        manager.query(updateSql, [key, value]),
      )
    const inside = async (): Promise<string | null> => {
      const [own] = await inScope(({ manager }) => manager.query(selectSql, [key]) as Promise<string[]>)
      return own ?? this.#postgres.rowOf(key)
    }
    const work = async (): Promise<void> => {
      if (how === 'in vain') {
        await unitOfWork
          .savepoint(async () => {
            await change()
            throw new RolledBack()
          })
          .catch(() => {})
        return
      }
      // Before the write as well: what was read then must not be kept for later either.
      await change()
      if (how === 'reads' || how === 'fails') await cache.getOrCreate(key, inside)
      if (how === 'sets' || how === 'fails') await cache.set(key, await inside(), { stamp: cache.capture() })
      if (how === 'fails') throw new RolledBack()
    }
    try {
      await commandBus.execute(new Perform({ work }), request)
    } catch (error) {
      if (!(error instanceof RolledBack)) throw error
    }
  }

  /** The commit of a write that was acknowledged. */
  #momentOf(operation: string, key: string): number {
    const value = `${key}${operation.replace('client ', ':')}`
    return this.#history.reignsOf(key).find((reign) => reign.value === value)?.from ?? 0
  }

  #troubleStep(list: number, index: number): Step | undefined {
    const trouble = this.scenario.troubles[list]?.[index]
    if (!trouble) return undefined
    const life = 'node' in trouble ? this.#lives[trouble.node] : undefined
    if (trouble.kind === 'crash' && !life?.node.serving) return undefined
    return {
      id: `trouble ${list + 1}.${index + 1}: ${describeTrouble(trouble)}`,
      optional: true,
      writes: [`trouble ${list}`, ...this.#touchedBy(trouble, life?.name ?? '')],
      perform: () => {
        this.#troublesDone[list] = index + 1
        this.#happen(trouble, life)
        return undefined
      },
    }
  }

  #touchedBy(trouble: Trouble, name: string): readonly string[] {
    const everyNode = this.#lives.map((life) => life.name)
    switch (trouble.kind) {
      case 'crash':
        return [name, 'subscriptions', ...this.#clients.map((client) => client.name)]
      case 'pass':
      case 'suspend':
        return ['time', ...everyNode]
      case 'delete numbered':
        return ['outbox']
      case 'fail over':
      case 'Postgres goes':
      case 'Postgres comes':
        return ['servers', 'outbox', ...this.scenario.keys.map((key) => `row ${key}`)]
      case 'lose hints':
        return everyNode
      case 'forge a hint':
        return ['outbox', 'subscriptions', ...everyNode]
      case 'pause':
      case 'resume':
        return [name]
      default:
        return ['redis', ...everyNode]
    }
  }

  #happen(trouble: Trouble, life: Life | undefined): void {
    switch (trouble.kind) {
      case 'crash':
        if (life) this.#crash(trouble.node, life)
        break
      case 'pause':
        if (life) this.scheduler.pause(life.name)
        break
      case 'resume':
        if (life) this.scheduler.resume(life.name)
        break
      case 'suspend':
        life?.clock.suspend(trouble.ms)
        break
      case 'pass':
        this.#time.now += trouble.ms
        break
      case 'fail over':
        this.#judge.postgresWasAway = true
        this.#postgres.failOver(trouble.lostChanges)
        break
      case 'Postgres goes':
        this.#judge.postgresWasAway = true
        this.#postgres.isDown = true
        this.#postgres.loseConnections()
        break
      case 'Postgres comes':
        this.#postgres.isDown = false
        break
      case 'lose hints':
        this.scheduler.drop(({ id }) => id.startsWith('hint '))
        break
      case 'forge a hint':
        this.#forge()
        break
      case 'delete numbered':
        this.#postgres.deleteNumbered()
        break
      case 'Redis saves':
        this.#redis.save()
        break
      case 'Redis is set back':
        this.#redis.restore()
        break
      case 'Redis restarts empty':
        this.#redis.restartEmpty()
        break
      case 'Redis goes':
        this.#redis.isDown = true
        break
      case 'Redis comes':
        this.#redis.isDown = false
        break
    }
  }

  #crash(index: number, life: Life): void {
    this.scheduler.kill(life.name)
    this.scheduler.resume(life.name)
    this.#redis.disconnect(life.name)
    // Their connection is gone with the process; what became of a write, they do not know.
    for (const client of this.#clients) {
      const running = client.client.operations[client.next - 1]
      if (client.busy && running?.node === index) client.busy = false
    }
    this.#start(index)
  }

  /** As if the next event, whatever it is, concerned nobody. */
  #forge(): void {
    const head = this.#postgres.head + 1
    const message = {
      position: head,
      numberingId: 'forged',
      type: 'thing.created',
      payload: { operation: 'forged' },
    }
    this.#redis.forge({ epoch: this.#postgres.epoch, head, messages: [message] })
  }

  #lifeOf(node: ServiceNode): Caller {
    const life = this.#lives.find((one) => one.node === node)
    // A process that has crashed meanwhile: what it asks for goes nowhere.
    return life ?? { name: node.name, nextRequest: () => `${node.name} (dead)` }
  }

  #judging(tell: () => void): void {
    try {
      tell()
    } catch (error) {
      if (!(error instanceof Violation)) throw error
      this.violation ??= error
    }
  }

  #judged(tell: () => readonly Sighting[]): readonly Sighting[] {
    let sightings: readonly Sighting[] = []
    this.#judging(() => {
      sightings = tell()
    })
    return sightings
  }
}

/** `a+` is made of the cached value of `a`; `a*` as well, which it reads in a unit of work. */
function rowOf(key: string): string {
  return /[+*]$/.test(key) ? key.slice(0, -1) : key
}

function eventOf(how: Write, operation: string, key: string): DomainEvent {
  switch (how) {
    case 'by tag':
      return new ThingChanged({ operation, tags: [tagOf(key)] })
    case 'creates':
      return new ThingCreated({ operation, keys: [key] })
    case 'newer payload':
      return new NewerThingChanged({ operation, keys: 1 })
    case 'mapping throws':
      return new ThingBroken({ operation })
    case 'unknown event':
      return new ThingRenamed({ operation })
    default:
      return new ThingChanged({ operation, keys: [key] })
  }
}
