import { ambient, runAsPartOf } from '../../src/kernel/ambient.js'
import { LoadTimeoutError } from '../../src/kernel/cache/cache-errors.js'
import type { EntryOptions } from '../../src/kernel/cache/entry-options.js'
import type { Consistency } from '../../src/kernel/journal/consistency.js'
import type { JournalMessage } from '../../src/kernel/journal/journal.js'
import {
  CommitOutcomeUnknownError,
  isConnectionFailure,
} from '../../src/kernel/persistence/persistence-errors.js'
import { updateSql } from '../consistency/postgres-model.js'
import { RandomNumbers } from '../consistency/random-numbers.js'
import { Perform, ThingBroken, ThingChanged } from '../consistency/things.js'
import { groupTag, rowTag, SimulatedCluster, type TestNode } from './cluster.js'
import { Factories, groupOf, LoadFailed } from './factories.js'
import { type Arrival, Judge, Violation } from './judge.js'
import { Ledger, type Load, type LoadedValue } from './ledger.js'
import { NodeMemory } from './node-memory.js'
import { Obligations, type Outcome } from './obligations.js'
import { type InvalidationPayload, Invalidations, reachedBy } from './reference-model.js'
import {
  type Action,
  type Burst,
  type CacheName,
  type ChangeOrigin,
  cacheNames,
  groups,
  type Invalidate,
  type LoadPlan,
  originRows,
  pages,
  type Read,
  rows,
  type Sequence,
  type SetByHand,
  type Write,
} from './sequence.js'
import { Session } from './session.js'

declare module '../../src/kernel/ambient.js' {
  interface Ambient {
    /** The values of a `set`, by which its message is recognised. */
    readonly setting?: readonly Load[]
  }
}

/** Milliseconds within which everything has an end: a load that hangs takes half a minute. */
const longestWaitMs = 200_000
/** Entries in memory of which none is ever evicted. */
export const manyEntries = 100
/** After the last trouble, until checks and the circuit breaker have noticed that it is over. */
const recoveryMs = 3_000

class RolledBack extends Error {}
class GaveUp extends Error {}

const plainLoad: LoadPlan = {
  beforeMs: 0,
  afterMs: 0,
  ends: 'well',
  way: 'getOrCreate',
  tags: 'the value',
  shape: 'plain',
}

/**
 * Runs a sequence, and judges whatever is answered. In the end all troubles are over, every node makes a check, and everything
 * is read once more.
 *
 * @returns what the documentation does not allow; undefined if there was nothing
 */
export async function runSequence(sequence: Sequence): Promise<Violation | undefined> {
  const random = new RandomNumbers(sequence.seed)
  const ownRandom = Math.random
  // For the jitter of lifetimes and checks.
  Math.random = () => random.next()
  let unhandled: Violation | undefined
  const notice = (what: string) => (error: unknown) => {
    unhandled ??= new Violation(`${what}: ${describeError(error)}`)
  }
  const rejection = notice('a rejection that nobody handles')
  const warning = notice('a warning of Node')
  process.on('unhandledRejection', rejection).on('warning', warning)
  const { stackTraceLimit } = Error
  Error.stackTraceLimit = 0
  try {
    const run = new Run(sequence)
    await run.all()
    // Node tells of both once a turn is over.
    await new Promise((resolve) => setImmediate(resolve))
    return run.violation ?? unhandled
  } finally {
    process.off('unhandledRejection', rejection).off('warning', warning)
    Math.random = ownRandom
    Error.stackTraceLimit = stackTraceLimit
  }
}

class Run {
  violation: Violation | undefined
  readonly #cluster: SimulatedCluster
  readonly #ledger = new Ledger()
  readonly #invalidations = new Invalidations()
  readonly #judge: Judge
  readonly #memory = new NodeMemory()
  readonly #obligations: Obligations
  readonly #clocksAreRight: boolean
  readonly #factories: Factories
  readonly #sessions: readonly Session[]
  /** What each client has asked for last: one that sends tokens waits for it. */
  readonly #last: Promise<unknown>[] = []
  readonly #running: Promise<unknown>[] = []
  readonly #sets = new Map<string, readonly Load[]>()

  constructor(private readonly sequence: Sequence) {
    this.#cluster = new SimulatedCluster(sequence, {
      applies: (message, epoch) => this.#applies(message, epoch),
      writes: (events) => this.#writes(events),
    })
    this.#clocksAreRight = !sequence.steps.some(({ action }) => action.kind === 'suspend')
    this.#judge = new Judge(
      this.#cluster.history,
      this.#ledger,
      this.#invalidations,
      this.#clocksAreRight,
      this.#memory,
    )
    this.#obligations = new Obligations(this.#ledger, this.#memory, this.#invalidations)
    this.#factories = new Factories(sequence, this.#cluster, this.#ledger)
    this.#sessions = sequence.tokens.map((sendsTokens) => new Session(sendsTokens))
  }

  async all(): Promise<void> {
    await this.#cluster.start()
    for (const { afterMs, action } of this.sequence.steps) {
      await this.#cluster.pass(afterMs)
      if (this.violation) return
      await this.#begin(action)
    }
    await this.#end()
  }

  #applies({ position, type, payload, ...rest }: JournalMessage, epoch: string): void {
    this.#invalidations.add({ position, type, payload, ...rest }, epoch)
    const { setId, keys = [] } = payload as InvalidationPayload & { setId?: string }
    for (const load of (setId && this.#sets.get(setId)) || []) {
      if (keys.includes(load.key)) load.setAt ??= { epoch, position }
    }
  }

  #writes(payloads: readonly unknown[]): void {
    const loads = ambient()?.setting
    for (const payload of payloads) {
      const { setId } = payload as { setId?: string }
      if (setId && loads) this.#sets.set(setId, loads)
    }
  }

  async #begin(action: Action): Promise<void> {
    switch (action.kind) {
      case 'trouble':
        return this.#cluster.trouble(action.what)
      case 'suspend':
        return this.#cluster.suspend(action.node, action.ms)
      case 'cut off':
        return this.#cluster.cutOff(action.node, action.ms)
      case 'burst':
        return this.#burst(action)
      default:
        this.#ask(action)
    }
  }

  #ask(action: Exclude<Action, { kind: 'trouble' | 'suspend' | 'cut off' | 'burst' }>): void {
    const node = this.#node(action.node)
    const session = this.#sessions[action.client] as Session
    const work = async (): Promise<void> => {
      if (action.kind === 'read') await this.#read(node, session, action)
      else if (action.kind === 'write') await this.#write(node, session, action)
      else if (action.kind === 'set') await this.#set(node, session, action)
      else if (action.kind === 'invalidate') await this.#invalidate(node, session, action)
      else await this.#changeOrigin(node, session, action)
    }
    const before = session.sendsTokens ? this.#last[action.client] : undefined
    const asked = (before ? before.then(work) : work()).catch((error: unknown) => this.#failed(error))
    this.#last[action.client] = asked
    this.#running.push(asked)
  }

  #node(index: number): TestNode {
    return this.#cluster.nodes[index] as TestNode
  }

  #failed(error: unknown): void {
    this.violation ??=
      error instanceof Violation ? error : new Violation(`unexpected: ${describeError(error)}`)
  }

  #arrival(node: TestNode, { known }: Session): Arrival {
    return { at: this.#cluster.now, node: node.index, place: node.service.applied.stamp(), known }
  }

  async #read(node: TestNode, session: Session, read: Read): Promise<void> {
    const { cache, keys, how, call, load } = read
    const arrival = this.#arrival(node, session)
    const request = node.service.request(session.sendsTokens ? session.token : undefined)
    const sentToken = session.sendsTokens && session.token !== undefined
    const options = this.#factories.optionsOf(cache, call)
    const giveUp = new AbortController()
    if (call.abortsAfterMs !== undefined)
      void node.clock.sleep(call.abortsAfterMs).then(() => giveUp.abort(new GaveUp('enough')))
    const asked = {
      consistency: request,
      ...(call.abortsAfterMs !== undefined && { signal: giveUp.signal }),
    }
    const answers: [string, LoadedValue | null | undefined][] = []
    try {
      if (how === 'getMany') {
        const values = await this.#factories.getMany(node, cache, keys, load, call, asked)
        for (const key of keys) answers.push([key, values.get(key) ?? null])
      } else {
        for (const key of keys) {
          if (how === 'get') answers.push([key, await node.caches[cache].get(key, asked)])
          else if (how === 'peek') answers.push([key, node.caches[cache].peek(key)])
          else answers.push([key, await this.#factories.getOrCreate(node, cache, key, load, call, asked)])
        }
      }
    } catch (error) {
      this.#readFailed(read, arrival, options, error)
      this.#owed(node, read, arrival, { sentToken, options, stale: undefined, loads: [], error })
      return
    }
    const loads = answers.map(([, value]) => (value ? this.#ledger.get(value.load) : undefined))
    this.#owed(node, read, arrival, { sentToken, options, stale: request.stale, loads, error: undefined })
    for (const [key, value] of answers) {
      // Nothing that is fresh is there.
      if (value === undefined) continue
      // It honours no token, and neither does it tell where it has looked.
      const told = how === 'peek' ? undefined : request
      this.#answered(
        how === 'peek' ? { ...arrival, known: nothingKnown } : arrival,
        read,
        key,
        value,
        options,
        told,
      )
      // There is no token that stands for what a peek has shown.
      if (value && how !== 'peek')
        session.sawRows(this.#rowsOf(value), (row, version) => this.#judge.versionOf(row, version))
      if (read.spoils && value) spoil(value)
    }
    if (how !== 'peek') session.answered(request.token)
  }

  /** Only where no trouble excuses it. */
  #owed(
    node: TestNode,
    { cache, keys, how, call }: Read,
    arrival: Arrival,
    outcome: Pick<Outcome, 'sentToken' | 'options' | 'stale' | 'loads' | 'error'>,
  ): void {
    if (how === 'get' || how === 'peek' || outcome.error instanceof GaveUp) return
    const isTroubled = this.#cluster.postgresWasAwayAt + recoveryMs >= arrival.at
    if (isTroubled || !this.#clocksAreRight) return
    const place = node.service.applied.stamp()
    this.#obligations.check({
      ...outcome,
      arrival,
      cache,
      keys,
      chosen: call.entry,
      at: this.#cluster.now,
      place,
    })
  }

  #answered(
    arrival: Arrival,
    { cache, keys }: Read,
    key: string,
    value: LoadedValue | null,
    options: EntryOptions,
    request: Consistency | undefined,
  ): void {
    this.#judge.answered(arrival, {
      cache,
      key,
      value,
      options,
      source: request?.source,
      stale: request?.stale,
      isOneOfMany: keys.length > 1,
    })
    const load = value && this.#ledger.get(value.load)
    if (!load || !request || request.stale || keys.length > 1) return
    if (load.mayBeMadeOfStale || this.sequence.maxEntries < manyEntries) return
    const { now } = this.#cluster
    if (request.source === 'l1') this.#memory.answered(now, arrival.node, load)
    // A `set` is stored once its message is applied, and a renewed value by its later load.
    else if (
      request.source === 'miss' &&
      load.node === arrival.node &&
      load.isKept &&
      load.endedAt !== undefined &&
      load.renewals.length === 0
    )
      this.#obligations.loaded(now, this.#node(arrival.node).service.applied.stamp(), load, load.endedAt)
  }

  #rowsOf(value: LoadedValue) {
    const load = this.#ledger.get(value.load)
    return load ? this.#ledger.withParts(load).flatMap(({ rows: read }) => read) : []
  }

  #readFailed(
    { cache, keys, call, how }: Read,
    arrival: Arrival,
    options: EntryOptions,
    error: unknown,
  ): void {
    if (error instanceof Violation) throw error
    const what = `${how} of ${cache} ${keys.join()} failed: ${describeError(error)}`
    const waitedMs = this.#cluster.now - arrival.at
    if (error instanceof LoadFailed) return
    if (error instanceof GaveUp) {
      if (call.abortsAfterMs === undefined || waitedMs < call.abortsAfterMs) throw new Violation(what)
      return
    }
    const withoutPostgres = this.#cluster.postgresWasAwayAt + recoveryMs >= arrival.at
    const isOfPostgres = isConnectionFailure(error) || error instanceof CommitOutcomeUnknownError
    if (isOfPostgres && withoutPostgres) return
    if (error instanceof LoadTimeoutError && this.#mayTimeOut(error, cache, options)) return
    throw new Violation(what)
  }

  /** Of this read, or of one inside its load. */
  #mayTimeOut({ cache, timeoutMs }: LoadTimeoutError, asked: CacheName, options: EntryOptions): boolean {
    if (cache === asked) return timeoutMs === options.hardTimeoutMs
    return timeoutMs === this.sequence.entries[cache as CacheName].hardTimeoutMs
  }

  async #write(node: TestNode, session: Session, write: Write): Promise<void> {
    const { row, group, names, ends, reads, deletes } = write
    const askedAt = this.#cluster.now
    const { unitOfWork, commandBus } = node.service
    const request = node.service.request(session.sendsTokens ? session.token : undefined)
    const committedBefore = [...rows, ...originRows].map((one) => [one, this.#judge.newestOf(one)] as const)
    const value = deletes ? null : this.#cluster.nextVersion(row, group)
    const change = async (): Promise<void> => {
      const event = this.#eventOf(row, names)
      await unitOfWork.changeMany([event], (manager) => manager.query(updateSql, [row, value]))
      if (reads) await this.#factories.getOrCreate(node, 'row', row, plainLoad, {})
    }
    const work = async (): Promise<void> => {
      if (ends === 'rolls a savepoint back, and commits') {
        await unitOfWork
          .savepoint(async () => {
            await change()
            throw new RolledBack()
          })
          .catch(() => {})
        return
      }
      await change()
      if (ends === 'rolls back') throw new RolledBack()
    }
    try {
      await commandBus.execute(new Perform({ work }), request)
    } catch (error) {
      if (!(error instanceof RolledBack)) this.#writeFailed(`the write of ${row}`, error, askedAt)
      return
    }
    session.answered(request.token)
    for (const [one, version] of committedBefore) session.sawVersion(one, version)
    if (ends === 'commits')
      session.sawRows([[row, value]], (one, version) => this.#judge.versionOf(one, version))
  }

  /** A write that was not acknowledged may have committed all the same; that it fails is another matter. */
  #writeFailed(what: string, error: unknown, askedAt: number): void {
    const away = this.#cluster.postgresWasAwayAt + recoveryMs >= askedAt
    if (!away) throw new Violation(`${what} failed: ${describeError(error)}`)
  }

  #eventOf(row: string, names: Write['names']) {
    const operation = 'write'
    // Nothing but its key is known of what is not there.
    const keys = this.sequence.steps.some(({ action }) => action.kind === 'write' && action.deletes)
      ? [row]
      : []
    switch (names) {
      case 'nothing that is known':
        return new ThingBroken({ operation })
      case 'the groups':
        return new ThingChanged({ operation, keys, tags: groups.map(groupTag) })
      case 'the row’s tag':
        return new ThingChanged({ operation, keys, tags: [rowTag(row)] })
      default:
        return new ThingChanged({ operation, keys: [row] })
    }
  }

  async #set(node: TestNode, session: Session, { keys, stamped, betweenMs }: SetByHand): Promise<void> {
    const askedAt = this.#cluster.now
    const cache = node.caches.row
    const stamp = cache.capture()
    const loads = keys.map((key) =>
      this.#ledger.begin({
        cache: 'row',
        key,
        node: node.index,
        options: this.#factories.optionsOf('row', {}),
        beganAt: this.#cluster.now,
        began: stamp,
      }),
    )
    try {
      const values: [string, LoadedValue | null][] = []
      for (const load of loads) {
        const read = await this.#factories.readRow(node, load.key)
        load.rows.push([load.key, read])
        const value =
          read === null ? null : { load: load.id, rows: [[load.key, read] as const], absent: [], madeOf: [] }
        load.text = JSON.stringify(value)
        values.push([load.key, value])
      }
      await node.clock.sleep(betweenMs)
      const tags = [...new Set(loads.flatMap((load) => tagsOfSet(load)))]
      for (const load of loads) for (const tag of tags) load.tags.add(tag)
      const setting = runAsPartOf({ setting: loads }, () =>
        cache.setMany(values, stamped ? { stamp, tags } : { tags }),
      )
      // They are the caller's own: the cache has made copies, of one at once, of many as it comes to them.
      const spoilAll = (): void => {
        for (const [, value] of values) if (value) spoil(value)
      }
      if (values.length === 1) spoilAll()
      await setting
      spoilAll()
    } catch (error) {
      this.#writeFailed('set', error, askedAt)
      return
    } finally {
      for (const load of loads) load.endedAt = this.#cluster.now
    }
    this.#wrote(node, session)
  }

  #wrote(node: TestNode, session: Session): void {
    const request = node.service.request(session.token)
    request.wrote()
    session.answered(request.token)
  }

  async #invalidate(node: TestNode, session: Session, { mode, what }: Invalidate): Promise<void> {
    const askedAt = this.#cluster.now
    const isRemoval = mode === 'remove'
    const { row } = node.caches
    try {
      if ('keys' in what) {
        const cache = node.caches[what.cache]
        await (isRemoval ? cache.remove(...what.keys) : cache.expire(...what.keys))
      } else if ('tags' in what) {
        await (isRemoval ? row.removeByTag(...what.tags) : row.expireByTag(...what.tags))
      } else {
        const cleared = what.cleared === 'all' ? node.all : node.caches[what.cleared]
        await cleared.clear({ keepFailSafe: !isRemoval })
      }
    } catch (error) {
      this.#writeFailed(`${mode}`, error, askedAt)
      return
    }
    const reaches = reachedBy(payloadOf(what))
    session.invalidated({ askedAt, effect: isRemoval ? 'removed' : 'expired', reaches })
    this.#wrote(node, session)
  }

  async #changeOrigin(node: TestNode, session: Session, { row, mode, by }: ChangeOrigin): Promise<void> {
    const askedAt = this.#cluster.now
    const { unitOfWork } = node.service
    const { origin } = node.caches
    const isRemoval = mode === 'remove'
    const value = this.#cluster.nextVersion(row, 'g1')
    try {
      await unitOfWork.run(() =>
        // No event: nobody here hears of it.
        unitOfWork.changeMany([] as never, (manager) => manager.query(updateSql, [row, value])),
      )
      if (by === 'key') await (isRemoval ? origin.remove(row) : origin.expire(row))
      else if (by === 'tag')
        await (isRemoval ? origin.removeByTag(rowTag(row)) : origin.expireByTag(rowTag(row)))
      else await origin.clear({ keepFailSafe: !isRemoval })
    } catch (error) {
      this.#writeFailed(`the change of ${row}`, error, askedAt)
      return
    }
    const version = this.#judge.versionOf(row, value)
    this.#judge.announced(row, { version, at: this.#cluster.now })
    session.sawVersion(row, version)
    this.#wrote(node, session)
  }

  /** Begins once nothing is under way, and nothing is wrong. */
  async #burst({ row, nodes, callers }: Burst): Promise<void> {
    await this.#settle()
    if (this.violation) return
    const removed = this.#node(0).caches.row.remove(row)
    await this.#cluster.until(removed, longestWaitMs)
    await this.#cluster.pass(recoveryMs)
    const before = this.#ledger.all.length
    const plan = { ...plainLoad, beforeMs: 20 }
    const asked = nodes.flatMap((index) =>
      Array.from({ length: callers }, () =>
        this.#factories.getOrCreate(this.#node(index), 'row', row, plan, { entry: unhurried }),
      ),
    )
    const all = Promise.all(asked)
    if (!(await this.#cluster.until(all, longestWaitMs))) throw new Violation('a burst is never answered')
    await all.catch((error: unknown) =>
      this.#failed(new Violation(`a burst failed: ${describeError(error)}`)),
    )
    const loads = this.#ledger.all.slice(before).filter(({ cache, key }) => cache === 'row' && key === row)
    for (const index of nodes) {
      const here = loads.filter(({ node }) => node === index)
      if (here.length > 1)
        this.#failed(
          new Violation(`${callers} callers of a cold key on node ${index + 1}: ${here.length} loads`),
        )
    }
    const isKept = this.#cluster.postgres.rowOf(row) !== null || this.sequence.keepsAbsence
    if (loads.length > 1 && isKept)
      this.#failed(new Violation(`a burst on ${nodes.length} nodes: ${loads.length} loads`))
  }

  /** Troubles are over, what was asked for is answered, and what goes on in the background has ended. */
  async #settle(): Promise<void> {
    this.#cluster.calm()
    const all = Promise.all(this.#running)
    if (!(await this.#cluster.until(all, longestWaitMs)) && !this.violation)
      this.#failed(new Violation('what was asked for is never answered'))
    const limit = this.#cluster.now + longestWaitMs
    while (!this.violation && this.#ledger.all.some(({ endedAt }) => endedAt === undefined)) {
      if (this.#cluster.now > limit) return this.#failed(new Violation('a load never ends'))
      await this.#cluster.pass(1_000)
    }
    await this.#cluster.pass(recoveryMs)
  }

  async #end(): Promise<void> {
    await this.#settle()
    if (this.violation) return
    const reader = new Session(false)
    for (const node of this.#cluster.nodes) {
      const checked = node.service.check.run()
      await this.#cluster.until(checked, longestWaitMs)
    }
    for (const node of this.#cluster.nodes) {
      for (const cache of cacheNames) {
        const keys = cache === 'row' ? rows : cache === 'origin' ? originRows : pages
        const read: Read = {
          kind: 'read',
          client: 0,
          node: node.index,
          cache,
          keys,
          how: 'getOrCreate',
          call: { entry: unhurried },
          load: plainLoad,
          spoils: false,
        }
        const asked = this.#read(node, reader, read).catch((error: unknown) => this.#failed(error))
        if (!(await this.#cluster.until(asked, longestWaitMs)))
          this.#failed(new Violation('in the end, a read is never answered'))
        if (this.violation) return
      }
    }
  }
}

/** The call of somebody who waits, and wants nothing stale. */
const unhurried: Partial<EntryOptions> = {
  failSafe: false,
  softTimeoutMs: Number.POSITIVE_INFINITY,
  hardTimeoutMs: Number.POSITIVE_INFINITY,
  skipL1Read: false,
  skipL1Write: false,
  skipL2Read: false,
  skipL2Write: false,
  clusterSingleFlight: true,
}

const nothingKnown = { versions: new Map<string, number>(), invalidations: [] }

function tagsOfSet({ key, rows: read }: Load): string[] {
  return [rowTag(key), ...read.flatMap(([, value]) => (value === null ? [] : [groupTag(groupOf(value))]))]
}

function payloadOf(what: Invalidate['what']): InvalidationPayload {
  if ('keys' in what) return what
  if ('tags' in what) return what
  return what.cleared === 'all' ? {} : { cache: what.cleared, all: true }
}

/** What a caller might do to what it was given; nobody else is to see it. */
function spoil(value: LoadedValue): void {
  const { rows: read, changeable } = value
  for (const change of [
    () => Object.assign(value, { load: -1 }),
    () => (read as unknown[]).push(['spoilt', null]),
    () => Object.assign(read[0] ?? {}, { 1: 'spoilt' }),
    () => changeable?.at.setFullYear(1970),
    () => changeable?.map.get('one') && Object.assign(changeable.map.get('one') as object, { n: 2 }),
    () => changeable?.map.clear(),
    () => changeable?.set.add('spoilt'),
    () => changeable?.bytes.fill(0),
  ]) {
    try {
      change()
    } catch {
      // Frozen: that is one way to protect it.
    }
  }
}

function describeError(error: unknown): string {
  return error instanceof Error ? `${error.name}: ${error.message}` : String(error)
}
