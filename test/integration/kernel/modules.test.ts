import 'reflect-metadata'
import { randomUUID } from 'node:crypto'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals'
import { inject, injectable } from 'inversify'
import { z } from 'zod'
import { readConfig } from '../../../src/config.js'
import { CommandBus } from '../../../src/kernel/cqrs/command-bus.js'
import {
  type CommandHandler,
  commandHandler,
  type QueryHandler,
  queryHandler,
} from '../../../src/kernel/cqrs/handlers.js'
import { command, query } from '../../../src/kernel/cqrs/message.js'
import type { ServiceModule } from '../../../src/kernel/cqrs/module.js'
import type { ModuleService } from '../../../src/kernel/cqrs/module-services.js'
import { QueryBus } from '../../../src/kernel/cqrs/query-bus.js'
import { Precondition } from '../../../src/kernel/domain/index.js'
import { DatabaseReader } from '../../../src/kernel/persistence/database-reader.js'
import { settings } from '../../../src/kernel/settings.js'
import { Node } from '../../../src/node.js'
import { Parcel } from '../../fixtures/circular-entities/parcel.js'
import { ParcelItem } from '../../fixtures/circular-entities/parcel-item.js'
import { createFreshDatabase, type FreshDatabase, query as sql } from '../../support/fresh-database.js'
import { Gate } from '../../support/gate.js'
import { silentLogger } from '../../support/silent-logger.js'
import { startTestNode } from '../../support/test-node.js'
import { until } from '../../support/until.js'

class CourierSettings extends settings(
  z.object({ COURIER_NAME: z.string(), COURIER_ATTEMPTS: z.coerce.number().int().default(3) }),
) {}

/** What the services of the module have done, in that order. */
const journal: string[] = []
let connecting = new Gate()

@injectable()
class Courier implements ModuleService {
  constructor(@inject(CourierSettings) private readonly settings: CourierSettings) {}

  async start(): Promise<void> {
    journal.push('connecting')
    await connecting.opened
    journal.push(`${this.settings.COURIER_NAME} connected, ${this.settings.COURIER_ATTEMPTS} attempts`)
  }

  async stop(): Promise<void> {
    journal.push('disconnected')
  }

  send(text: string): void {
    journal.push(text)
  }
}

@injectable()
class Announcer implements ModuleService {
  constructor(@inject(Courier) private readonly courier: Courier) {}

  async start(): Promise<void> {
    this.courier.send('hello')
  }

  async stop(): Promise<void> {
    this.courier.send('goodbye')
    throw new Error('nobody listens')
  }
}

class Store extends command(z.strictObject({ id: z.string() })).returning<string>() {}
class Deliver extends command(z.strictObject({ id: z.string() })).returning<string>() {}
class GetParcel extends query(z.strictObject({ id: z.string() })).returning<string[]>() {}
class GetTwice extends query(z.strictObject({ id: z.string() })).returning<string[]>() {}

@commandHandler(Store)
class StoreHandler implements CommandHandler<Store> {
  constructor(@inject(Courier) private readonly courier: Courier) {}

  async execute({ id }: Store): Promise<string> {
    this.courier.send(`stored ${id}`)
    return id
  }
}

/** Sends a command to its own bus. */
@commandHandler(Deliver)
class DeliverHandler implements CommandHandler<Deliver> {
  constructor(@inject(CommandBus) private readonly commandBus: CommandBus) {}

  async execute({ id }: Deliver): Promise<string> {
    return `delivered ${await this.commandBus.execute(new Store({ id }))}`
  }
}

class Overwrite extends command(z.strictObject({ precondition: Precondition })).returning<void>() {}

/** Gives the precondition to no store. */
@commandHandler(Overwrite)
class OverwriteHandler implements CommandHandler<Overwrite> {
  async execute(): Promise<void> {}
}

@queryHandler(GetParcel)
class GetParcelHandler implements QueryHandler<GetParcel> {
  constructor(@inject(DatabaseReader) private readonly database: DatabaseReader) {}

  async execute({ id }: GetParcel): Promise<string[]> {
    const parcel = await this.database.read(Parcel, (parcels) =>
      parcels.findOne({ where: { id }, relations: { items: true } }),
    )
    return parcel?.items.map(({ name }) => name).sort() ?? []
  }
}

@queryHandler(GetTwice)
class GetTwiceHandler implements QueryHandler<GetTwice> {
  constructor(@inject(QueryBus) private readonly queryBus: QueryBus) {}

  async execute({ id }: GetTwice): Promise<string[]> {
    const once = await this.queryBus.execute(new GetParcel({ id }))
    return [...once, ...once]
  }
}

const parcels: ServiceModule = {
  name: 'parcels',
  entities: [Parcel, ParcelItem],
  handlers: [OverwriteHandler, StoreHandler, DeliverHandler, GetParcelHandler, GetTwiceHandler],
  settings: [CourierSettings],
  services: [Courier, Announcer],
}

let database: FreshDatabase
let node: Node | undefined

beforeEach(() => {
  connecting = new Gate()
})
beforeAll(async () => {
  database = await createFreshDatabase()
  await sql(
    database,
    'create table parcel (id uuid primary key, address text not null, version int not null)',
  )
  await sql(
    database,
    'create table parcel_item (id uuid primary key, name text not null, parcel_id uuid not null references parcel)',
  )
})
afterEach(async () => {
  await node?.stop()
  node = undefined
  journal.length = 0
})
afterAll(() => database.drop())

async function start(env: Readonly<Record<string, string>> = {}): Promise<Node> {
  connecting.open()
  const started = await startTestNode(database, {
    redis: false,
    offered: [parcels],
    env: { COURIER_NAME: 'Ada', ...env },
  })
  node = started
  return started
}

describe('a module', () => {
  test('has its settings read with all others, and injected', async () => {
    await start({ COURIER_ATTEMPTS: '7' })
    expect(journal).toContain('Ada connected, 7 attempts')
  })

  test('has its services started in their order before the node serves, and stopped in reverse when no handler runs', async () => {
    const started = await start()
    expect(await started.parts.commandBus.execute(new Store({ id: 'a' }))).toBe('a')
    await started.stop()
    node = undefined
    // One that fails to stop does not keep the others from stopping.
    expect(journal).toEqual([
      'connecting',
      'Ada connected, 3 attempts',
      'hello',
      'stored a',
      'goodbye',
      'disconnected',
    ])
  })

  test('that never connects keeps the node from serving, and not from stopping', async () => {
    const config = readConfig({ DATABASE_URL: database.url, PORT: '0', COURIER_NAME: 'Ada' }, [parcels])
    const waiting = new Node(config, silentLogger, [parcels])
    const starting = waiting.start()
    await until('the service connects', () => journal.includes('connecting'))
    expect(waiting.report().status).toBe('starting')
    await waiting.stop()
    await starting
    expect(journal).toEqual(['connecting', 'disconnected'])
  })

  test('that cannot connect ends the start with its error', async () => {
    connecting.fail(new Error('the courier is on strike'))
    await expect(start()).rejects.toThrow('the courier is on strike')
  })

  test('can send commands and queries from its handlers', async () => {
    const { commandBus } = (await start()).parts
    expect(await commandBus.execute(new Deliver({ id: 'b' }))).toBe('delivered b')
  })

  test('can have entities in two files that refer to each other', async () => {
    const { queryBus } = (await start()).parts
    const id = randomUUID()
    await sql(database, 'insert into parcel values ($1, $2, 1)', [id, 'here'])
    for (const name of ['cup', 'book'])
      await sql(database, 'insert into parcel_item values ($1, $2, $3)', [randomUUID(), name, id])
    expect(await queryBus.execute(new GetParcel({ id }))).toEqual(['book', 'cup'])
    expect(await queryBus.execute(new GetTwice({ id }))).toEqual(['book', 'cup', 'book', 'cup'])
  })

  test('can count and sum in the database', async () => {
    const reader = (await start()).parts.container.get(DatabaseReader)
    const address = randomUUID()
    for (const version of [1, 2, 4])
      await sql(database, 'insert into parcel values ($1, $2, $3)', [randomUUID(), address, version])
    expect(await reader.read(Parcel, (table) => table.sum('version', { address }))).toBe(7)
    expect(await reader.read(Parcel, (table) => table.maximum('version', { address }))).toBe(4)
    const [found, count] = await reader.read(Parcel, (table) =>
      table.findAndCount({ where: { address }, take: 2 }),
    )
    expect([found.length, count]).toEqual([2, 3])
  })

  test('whose handler ignores a precondition has its command refused, and without one it runs', async () => {
    const { commandBus } = (await start()).parts
    for (const precondition of ['any' as const, [1]])
      await expect(commandBus.execute(new Overwrite({ precondition }))).rejects.toThrow(
        'The handler of Overwrite ignores its precondition',
      )
    await commandBus.execute(new Overwrite({}))
  })
})
