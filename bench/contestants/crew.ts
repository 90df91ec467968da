import pg from 'pg'
import type { Entrant, EntrantSettings, Sample } from '../entrant.js'
import { EntrantClient } from '../entrant-client.js'

export interface CrewPlan {
  /** Of whose exports the workers are made, each in a process of its own. */
  readonly module: string
  readonly open: string
  /** Makes the tables, once. */
  install?(client: pg.Client): Promise<unknown>
  /** Takes away what the last round left. */
  clear(client: pg.Client): Promise<unknown>
  /** Puts the backlog in, within a transaction that commits when the clock starts. */
  fill(client: pg.Client, count: number): Promise<unknown>
  /** Tables whose statistics the planner needs: autovacuum would have seen to that long before a real backlog. */
  readonly tables: readonly string[]
  /** How many of the backlog are left: afterwards it must be none. */
  readonly left: string
}

/** So many entries wait when the clock starts. */
export function backlogOf({ quick, count }: EntrantSettings): number {
  return quick ? Number(count ?? 200_000) / 10 : Number(count ?? 200_000)
}

/** `workers` processes that work off one backlog at once. A worker's round ends when it finds nothing more to do. */
export async function openCrew(settings: EntrantSettings, plan: CrewPlan): Promise<Entrant> {
  const client = new pg.Client(settings.databaseUrl)
  await client.connect()
  await plan.install?.(client)
  const profiling = process.execArgv.filter((option) => option.startsWith('--cpu-prof'))
  const workers = Array.from(
    { length: Number(settings.workers ?? 1) },
    (_, index) =>
      // They end with this process, whose end closes their channel.
      new EntrantClient(`worker ${index + 1}`, plan.module, plan.open, settings, () => {}, profiling),
  )
  for (const worker of workers) await worker.ready()
  const count = backlogOf(settings)

  async function round(): Promise<Sample> {
    await plan.clear(client)
    await client.query('begin')
    await plan.fill(client, count)
    for (const table of plan.tables) await client.query(`analyze ${table}`)
    await client.query('commit')
    const startedAt = performance.now()
    await Promise.all(workers.map((worker) => worker.round()))
    const seconds = (performance.now() - startedAt) / 1_000
    const { rows } = await client.query<{ left: number }>(plan.left)
    if (rows[0]?.left !== 0) throw new Error(`${rows[0]?.left} of ${count} are left`)
    return { perSecond: count / seconds }
  }
  return {
    round,
    async close() {
      await Promise.all(workers.map((worker) => worker.close()))
      await client.end()
    },
  }
}
