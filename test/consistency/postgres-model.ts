import type { Journal, JournalPage, NumberingResult, Place } from '../../src/kernel/journal/journal.js'
import type { Connections } from '../../src/kernel/persistence/connections.js'
import { type OutboxRow, pageOf } from '../support/journal-page.js'
import type { Commit, History } from './history.js'
import type { Scheduler, Touches } from './scheduler.js'
import type { SimulatedTime } from './simulated-time.js'

/** One process of the service, as the servers see it. */
export interface Caller {
  /** Of this life of the node: a restarted one is another caller. */
  readonly name: string
  /** Names one request; the same in every run that gave this caller the same answers. */
  nextRequest(): string
}

interface CommittedRow extends OutboxRow {
  readonly id: number
  readonly commit: Commit
}

interface Snapshot {
  readonly unnumbered: readonly CommittedRow[]
  readonly head: number
}

export interface PostgresOptions {
  /** Whether the numbering lock and the update are two steps, so that others can come between. Needs `slowReplies`. */
  readonly slowNumbering: boolean
  /** Whether a reply arrives in a step of its own. */
  readonly slowReplies: boolean
}

class ConnectionLostError extends Error {
  readonly code = 'ECONNRESET'
}

/**
 * Postgres as far as the protocol can tell: transactions with savepoints, which nobody sees before their COMMIT; ids
 * given at the INSERT, whatever the order of commits; a snapshot for each statement; the numbering lock; epochs.
 */
export class PostgresModel {
  isDown = false
  #epochs = 1
  #connections = 0
  readonly #rows = new Map<string, string | null>()
  #outbox: CommittedRow[] = []
  #ids = 0
  #head = 0
  #headId: string | null = null
  #numberingLock: string | undefined
  /** How to take back what was made durable, the newest last: a replica that is promoted may lack the end of it. */
  readonly #log: (() => void)[] = []

  constructor(
    private readonly scheduler: Scheduler,
    private readonly time: SimulatedTime,
    private readonly history: History,
    private readonly options: PostgresOptions,
  ) {}

  get epoch(): string {
    return (0xe0 + this.#epochs).toString(16).padStart(16, '0')
  }

  get head(): number {
    return this.#head
  }

  get hasUnnumbered(): boolean {
    return this.#outbox.some(({ position }) => position === null)
  }

  /** Before anything happens: a row, and a past of numbered events that concern nobody. */
  create(key: string, value: string | null): void {
    this.#rows.set(key, value)
    this.history.begin(key, value)
  }

  skipPositions(count: number): void {
    for (let position = 1; position <= count; position++) {
      const commit = { moment: 0, operation: 'before', keys: [] }
      this.#outbox.push({
        id: ++this.#ids,
        type: 'thing.created',
        payload: {},
        commit,
        position,
        numberingId: 'before',
      })
      this.history.numbered(this.epoch, position, commit)
    }
    this.#head = count
    this.#headId = count > 0 ? 'before' : null
  }

  rowOf(key: string): string | null {
    return this.#rows.get(key) ?? null
  }

  read(caller: Caller, key: string): Promise<string | null> {
    return this.#statement(
      caller,
      `Postgres reads ${key}`,
      { reads: [`row ${key}`] },
      () => this.rowOf(key),
      String,
    )
  }

  journalOf(caller: Caller): Journal {
    return {
      number: (atMost) => this.#number(caller, atMost),
      numberOn: async (connection, atMost) => {
        // Behind a COMMIT that fails, too: its connection is there, unless it was lost.
        await connection.query('what was sent before').catch(() => {})
        return this.#number(caller, atMost)
      },
      numberAndCommit: async (connection, atMost) => {
        const client = connection as unknown as TransactionModel['client']
        const numbering = await client.numberAndCommit(atMost)
        return { command: 'COMMIT', numbering }
      },
      read: (after, atMost, places = []) =>
        this.#statement(
          caller,
          `Postgres shows what follows ${after}`,
          { reads: ['outbox', 'time'] },
          () => this.#page(after, atMost, places),
          ({ head, messages, unnumbered }) =>
            `head ${head}, ${messages.length} events${unnumbered ? ', more unnumbered' : ''}`,
        ),
      beginEpoch: (seen) =>
        this.#statement(caller, 'Postgres begins an epoch', { writes: ['outbox'] }, () => {
          if (this.epoch === seen) this.#newEpoch()
          return this.epoch
        }),
    }
  }

  /** Lends connections as the kernel's `Connections` do, as far as the unit of work uses them. */
  connectionsOf(caller: Caller): Connections {
    return {
      borrow: async (work: (runner: unknown, client: unknown, keepUntil: () => void) => Promise<unknown>) => {
        const { runner, client } = new TransactionModel(
          () => ++this.#ids,
          (writes, events, atMost) => this.#commitTransaction(caller, writes, events, atMost),
        )
        return work(runner, client, () => {})
      },
    } as unknown as Connections
  }

  /** Another server takes over: every connection ends, and it may lack the last changes of the one that is gone. */
  failOver(lostChanges: number): void {
    for (let lost = 0; lost < lostChanges; lost++) this.#log.pop()?.()
    this.#newEpoch()
    this.loseConnections()
  }

  loseConnections(): void {
    this.#connections++
    this.#numberingLock = undefined
  }

  /** Retention, or an operator, deletes everything that has a position. */
  deleteNumbered(): void {
    this.#outbox = this.#outbox.filter(({ position }) => position === null)
  }

  #newEpoch(): void {
    const old = this.epoch
    this.#epochs++
    this.history.continueEpoch(old, this.epoch, this.#head)
  }

  async #number(caller: Caller, atMost: number): Promise<NumberingResult> {
    const tell = ({ head, numbered }: NumberingResult) => `${numbered} numbered, head ${head}`
    const touches = { writes: ['outbox'] }
    const id = caller.nextRequest()
    const connection = this.#connections
    if (!this.options.slowNumbering) {
      const execute = () => this.#numberIn(this.#snapshot(), atMost, id)
      return this.#statement(caller, 'Postgres numbers', touches, execute, tell, id)
    }
    let snapshot = this.#snapshot()
    await this.scheduler.park(
      {
        id: `${id} Postgres takes the numbering lock`,
        survives: true,
        ...touches,
        ready: () => this.#numberingLock === undefined || this.#connections !== connection,
      },
      () => {
        if (this.#connections === connection && !this.isDown) this.#numberingLock = id
      },
    )
    // A new statement, hence a new snapshot: it shows what the previous holder of the lock has numbered.
    snapshot = this.#snapshot()
    return this.#statement(
      caller,
      'Postgres numbers',
      touches,
      () => {
        // Its connection has ended with the lock, or nobody was there to give it one.
        if (this.#numberingLock !== id) throw new ConnectionLostError('Connection terminated')
        this.#numberingLock = undefined
        return this.#numberIn(snapshot, atMost, id)
      },
      tell,
      id,
    )
  }

  #snapshot(): Snapshot {
    return {
      unnumbered: this.#unnumbered(),
      head: this.#head,
    }
  }

  #unnumbered(): CommittedRow[] {
    return inOrder(this.#outbox.filter(({ position }) => position === null))
  }

  #numberIn({ unnumbered, head }: Snapshot, atMost: number, numberingId: string): NumberingResult {
    const some = unnumbered.slice(0, atMost)
    if (some.length > 0) {
      const before = { head: this.#head, headId: this.#headId }
      const earlier = some.map(({ position, numberingId }) => ({ position, numberingId }))
      some.forEach((row, index) => {
        const position = head + index + 1
        if (this.#outbox.some((other) => other !== row && other.position === position))
          throw new Error(`duplicate key: position ${position}`)
        row.position = position
        row.numberingId = numberingId
        this.history.numbered(this.epoch, position, row.commit)
      })
      this.#head = head + some.length
      this.#headId = numberingId
      this.#log.push(() => {
        some.forEach((row, index) => {
          Object.assign(row, earlier[index])
        })
        this.#head = before.head
        this.#headId = before.headId
      })
    }
    const result = { epoch: this.epoch, head: this.#head, headId: this.#headId, numbered: some.length }
    // One goes along, more have to be read: both ways are gone.
    return some.length === 1 ? { ...result, messages: this.#page(head, 1, []).messages } : result
  }

  #page(after: number, atMost: number, places: readonly Place[]): JournalPage {
    const state = { epoch: this.epoch, head: this.#head, headId: this.#headId, clockMs: this.time.now }
    return pageOf(this.#outbox, state, after, atMost, places)
  }

  /** With `atMost`, the transaction numbers as its last statement, unless another numbering has the lock. */
  async #commitTransaction(
    caller: Caller,
    writes: ReadonlyMap<string, string | null>,
    events: readonly Inserted[],
    atMost?: number,
  ): Promise<NumberingResult | undefined> {
    const id = caller.nextRequest()
    const connection = this.#connections
    let snapshot: Snapshot | undefined
    if (atMost !== undefined && this.options.slowNumbering) {
      await this.scheduler.park(
        { id: `${id} Postgres takes the numbering lock, if it is free`, survives: true, writes: ['outbox'] },
        () => {
          if (this.#connections !== connection || this.isDown || this.#numberingLock !== undefined) return
          this.#numberingLock = id
          snapshot = this.#snapshot()
        },
      )
    }
    const keys = [...writes.keys()]
    return this.#statement(
      caller,
      `Postgres commits ${keys.map((key) => `${key} = ${writes.get(key)}`).join(', ') || operationsOf(events).join()}`,
      { reads: ['time'], writes: ['outbox', ...keys.map((key) => `row ${key}`)] },
      () => {
        const logged = this.#log.length
        const rows = this.#commit(writes, events)
        if (atMost === undefined || (this.options.slowNumbering && !snapshot)) return undefined
        this.#numberingLock = undefined
        const { unnumbered, head } = snapshot ?? { unnumbered: this.#unnumbered(), head: this.#head }
        const seen = unnumbered.filter((row) => !rows.includes(row))
        const result = this.#numberIn({ unnumbered: inOrder([...seen, ...rows]), head }, atMost, id)
        // One transaction: what loses the one loses the other.
        const undo = this.#log.splice(logged).reverse()
        this.#log.push(() => {
          for (const step of undo) step()
        })
        return result
      },
      (numbering) => (numbering ? `${numbering.numbered} numbered, head ${numbering.head}` : ''),
      id,
    )
  }

  #commit(writes: ReadonlyMap<string, string | null>, events: readonly Inserted[]): readonly CommittedRow[] {
    const keys = [...writes.keys()]
    const operations = operationsOf(events)
    if (keys.length + events.length === 0) return []
    const moment = this.history.nextMoment()
    const before = keys.map((key) => [key, this.rowOf(key)] as const)
    for (const [key, value] of writes) {
      this.#rows.set(key, value)
      this.history.replace(key, value, this.time.now)
    }
    const rows = events.map(({ id, type, payload }, index): CommittedRow => {
      const commit = { moment, operation: operations[index] ?? '', keys }
      return { id, type, payload, commit, position: null, numberingId: '' }
    })
    this.#outbox.push(...rows)
    this.#log.push(() => {
      this.#outbox = this.#outbox.filter((row) => !rows.includes(row))
      this.history.nextMoment()
      for (const [key, value] of before) {
        this.#rows.set(key, value)
        this.history.restore(key, value, this.time.now)
      }
    })
    return rows
  }

  async #statement<Result>(
    caller: Caller,
    what: string,
    touches: Touches,
    execute: () => Result,
    tell?: (result: Result) => string,
    id = caller.nextRequest(),
  ): Promise<Result> {
    const connection = this.#connections
    const refuse = (): void => {
      if (this.#connections !== connection || this.isDown)
        throw new ConnectionLostError('Connection terminated')
    }
    const { reads = [], writes = [] } = touches
    const server = { id: `${id} ${what}`, owner: caller.name }
    if (!this.options.slowReplies) {
      return this.scheduler.park(
        { ...server, node: caller.name, reads: [...reads, 'servers'], writes: [...writes, caller.name] },
        () => {
          refuse()
          return execute()
        },
        tell,
      )
    }
    const result = await this.scheduler.park(
      // What was sent to be written is written, even if nobody waits for the answer any more.
      { ...server, survives: writes.length > 0, reads: [...reads, 'servers'], writes },
      (): { value: Result } | { error: unknown } => {
        try {
          refuse()
          return { value: execute() }
        } catch (error) {
          return { error }
        }
      },
      (result) => ('value' in result ? (tell?.(result.value) ?? '') : String(result.error)),
    )
    return this.scheduler.park(
      {
        id: `${id} the reply reaches ${caller.name}`,
        node: caller.name,
        owner: caller.name,
        reads: ['servers'],
        writes: [caller.name],
      },
      () => {
        refuse()
        if ('error' in result) throw result.error
        return result.value
      },
    )
  }
}

function inOrder(rows: readonly CommittedRow[]): CommittedRow[] {
  return [...rows].sort((a, b) => a.id - b.id)
}

function operationsOf(events: readonly Inserted[]): string[] {
  return events.map(({ payload }) => (payload as { operation?: string }).operation ?? 'cache')
}

interface Inserted {
  readonly id: number
  readonly type: string
  readonly payload: unknown
}

/** One transaction on one connection. Nothing of it is seen by anybody before `commit`. */
class TransactionModel {
  #writes = new Map<string, string | null>()
  #events: Inserted[] = []
  readonly #savepoints: { writes: Map<string, string | null>; events: Inserted[] }[] = []

  constructor(
    private readonly nextId: () => number,
    private readonly commit: (
      writes: ReadonlyMap<string, string | null>,
      events: readonly Inserted[],
      atMost?: number,
    ) => Promise<NumberingResult | undefined>,
  ) {}

  get client() {
    let committing: Promise<unknown> | undefined
    return {
      query: async (command: string) => {
        if (command === 'COMMIT') committing = this.commit(this.#writes, this.#events)
        await committing
        return { command }
      },
      numberAndCommit: (atMost: number) => this.commit(this.#writes, this.#events, atMost),
    }
  }

  get runner(): unknown {
    const runner = {
      isTransactionActive: false,
      isReleased: false,
      startTransaction: async () => {
        this.#savepoints.push({ writes: new Map(this.#writes), events: [...this.#events] })
      },
      commitTransaction: async () => {
        this.#savepoints.pop()
      },
      rollbackTransaction: async () => {
        if (this.#savepoints.length === 0) runner.isTransactionActive = false
        const before = this.#savepoints.pop()
        this.#writes = before?.writes ?? new Map()
        this.#events = before?.events ?? []
      },
    }
    return Object.assign(runner, { manager: { queryRunner: runner, query: this.#query.bind(this) } })
  }

  async #query(sql: string, parameters: readonly unknown[]): Promise<unknown> {
    if (sql.startsWith('insert into aftercommit_kernel.outbox_message')) {
      const [types, payloads] = parameters as [string[], string[]]
      types.forEach((type, index) => {
        this.#events.push({ id: this.nextId(), type, payload: JSON.parse(payloads[index] as string) })
      })
      return []
    }
    const [key, value] = parameters as [string, string | null]
    if (sql === updateSql) this.#writes.set(key, value)
    return this.#writes.has(key) ? [this.#writes.get(key) as string | null] : []
  }
}

export const updateSql = 'update thing'
export const selectSql = 'select thing'
