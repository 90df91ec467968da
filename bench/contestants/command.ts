import pg from 'pg'
import { type DataSource, EntitySchema } from 'typeorm'
import { createDataSource } from '../../ormconfig.js'
import type { Journal } from '../../src/kernel/journal/journal.js'
import { ChangeUser } from '../../src/modules/users/commands/change-user.js'
import { User } from '../../src/modules/users/domain/user.js'
import { UserRenamed } from '../../src/modules/users/domain/user-events.js'
import type { Entrant, EntrantSettings, Sample } from '../entrant.js'
import { startBenchNode } from '../service/bench-node.js'
import { createUsers, userIdOf } from '../service/user-table.js'
import { StatementCounter } from './statement-counter.js'

const userCount = 10_000
const concurrency = 16
const poolSize = 20

/** Gives one user another name, and writes the event of it to the outbox, in one transaction. */
type Rename = (id: string, name: string) => Promise<unknown>

/** Each worker has users of its own: what is measured is the command, not a conflict between two. */
function renaming(rename: Rename, settings: EntrantSettings, counter: StatementCounter): Entrant['round'] {
  const count = settings.quick ? 800 : 12_000
  let next = 0
  const worker = async (number: number, until: number): Promise<void> => {
    while (next < until) {
      const turn = next++
      const user = (Math.floor(turn / concurrency) * concurrency + number) % userCount
      await rename(userIdOf(user), `Renamed ${turn}`)
    }
  }
  return async (): Promise<Sample> => {
    const until = next + count
    const sentBefore = counter.sent
    const startedAt = performance.now()
    await Promise.all(Array.from({ length: concurrency }, (_, number) => worker(number, until)))
    return {
      perSecond: (count / (performance.now() - startedAt)) * 1_000,
      statements: (counter.sent - sentBefore) / count,
    }
  }
}

/** Settings: `numbered` is whether events get positions, as they do in production. */
export async function openOurs(settings: EntrantSettings): Promise<Entrant> {
  await createUsers(settings.databaseUrl, userCount)
  const node = await startBenchNode(settings, settings.numbered ? {} : { wrappers: { journal: unnumbered } })
  const { commandBus, dataSource } = node.parts
  const counter = new StatementCounter(poolOf(dataSource))
  const rename: Rename = (userId, name) =>
    commandBus.execute(new ChangeUser({ userId, name, precondition: undefined }))
  return { round: renaming(rename, settings, counter), close: () => node.stop() }
}

/** Shows what a command costs before anything is made of its event: nothing is numbered, and nobody notices. */
function unnumbered(journal: Journal): Journal {
  return {
    number: async () => ({ epoch: '', head: 0, headId: null, numbered: 0 }),
    read: async (after, atMost, places) => ({
      ...(await journal.read(after, atMost, places)),
      unnumbered: false,
    }),
    beginEpoch: (seen) => journal.beginEpoch(seen),
  }
}

const startText = 'START TRANSACTION'
const select = {
  name: 'select',
  text: 'select id, email, name, permissions, version from user_account where id = $1',
}
const update = {
  name: 'update',
  text: 'update user_account set name = $1, version = $2 where id = $3 and version = $4',
}
const insert = {
  name: 'insert',
  text: `insert into aftercommit_kernel.outbox_message (type, payload)
    select m.type, m.payload::jsonb
    from unnest($1::text[], $2::text[]) with ordinality as m (type, payload, place) order by m.place`,
}

/** The limit: the same statements by `pg` alone, each sent when the one before has been answered. */
export async function openRaw(settings: EntrantSettings): Promise<Entrant> {
  await createUsers(settings.databaseUrl, userCount)
  const pool = new pg.Pool({ connectionString: settings.databaseUrl, max: poolSize })
  const rename: Rename = async (id, name) => {
    const client = await pool.connect()
    try {
      await client.query(startText)
      const { rows } = await client.query<{ version: number }>({ ...select, values: [id] })
      const [user] = rows
      if (!user) throw new Error('the user is gone')
      const values = [name, user.version + 1, id, user.version]
      const { rowCount } = await client.query({ ...update, values })
      if (rowCount !== 1) throw new Error('somebody else was faster')
      const payload = JSON.stringify({ userId: id, name })
      await client.query({ ...insert, values: [[UserRenamed.eventName], [payload]] })
      await client.query('COMMIT')
    } finally {
      client.release()
    }
  }
  return { round: renaming(rename, settings, new StatementCounter(pool)), close: () => pool.end() }
}

interface OutboxMessage {
  id?: string
  type: string
  payload: object
}

const outboxMessages = new EntitySchema<OutboxMessage>({
  name: 'OutboxMessage',
  tableName: 'aftercommit_kernel.outbox_message',
  columns: {
    id: { type: 'bigint', primary: true, generated: 'increment' },
    type: { type: 'text' },
    payload: { type: 'jsonb' },
  },
})

/** What a service writes that has TypeORM and no unit of work: `save` for the row and for the outbox. */
export async function openTypeOrmSave(settings: EntrantSettings): Promise<Entrant> {
  const dataSource = await typeOrm(settings)
  const rename: Rename = (id, name) =>
    dataSource.transaction(async (manager) => {
      const user = await manager.findOneByOrFail(User, { id })
      user.name = name
      user.version++
      await manager.save(user)
      await manager.save(outboxMessages, { type: UserRenamed.eventName, payload: { userId: id, name } })
    })
  return typeOrmEntrant(dataSource, rename, settings)
}

/** The same without what `save` looks up first, and with the guard of the version. */
export async function openTypeOrmUpdate(settings: EntrantSettings): Promise<Entrant> {
  const dataSource = await typeOrm(settings)
  const rename: Rename = (id, name) =>
    dataSource.transaction(async (manager) => {
      const { version } = await manager.findOneByOrFail(User, { id })
      const { affected } = await manager.update(User, { id, version }, { name, version: version + 1 })
      if (affected !== 1) throw new Error('somebody else was faster')
      await manager.insert(outboxMessages, { type: UserRenamed.eventName, payload: { userId: id, name } })
    })
  return typeOrmEntrant(dataSource, rename, settings)
}

async function typeOrm({ databaseUrl }: EntrantSettings): Promise<DataSource> {
  await createUsers(databaseUrl, userCount)
  return createDataSource({ databaseUrl, poolSize })
    .setOptions({ entities: [User, outboxMessages] })
    .initialize()
}

function typeOrmEntrant(dataSource: DataSource, rename: Rename, settings: EntrantSettings): Entrant {
  const counter = new StatementCounter(poolOf(dataSource))
  return { round: renaming(rename, settings, counter), close: () => dataSource.destroy() }
}

function poolOf(dataSource: DataSource): pg.Pool {
  return (dataSource.driver as unknown as { master: pg.Pool }).master
}
