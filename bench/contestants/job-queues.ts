import { EventEmitter } from 'node:events'
import { run as runGraphileWorker, runMigrations } from 'graphile-worker'
import { Redis } from 'ioredis'
import PgBoss from 'pg-boss'
import type { Entrant, EntrantSettings } from '../entrant.js'
import { openCrew } from './crew.js'

const module = import.meta.url
const queue = 'events'

const payload = `json_build_object('keys', json_build_array('item:' || n), 'tags', '[]'::json)`

/** Setting `publish`: each job is sent to Redis; otherwise its handler does nothing. */
function handlerOf({ redisUrl, publish }: EntrantSettings) {
  if (!publish) return { handle: () => undefined, close: () => {} }
  const redis = new Redis(redisUrl, { enableAutoPipelining: true })
  return {
    handle: (job: unknown): Promise<unknown> | undefined => redis.publish('jobs', JSON.stringify(job)),
    close: () => redis.disconnect(),
  }
}

/** Jobs are fetched by a local queue and completed in batches, which its manual says is quickest. */
export function openGraphileWorker(settings: EntrantSettings): Promise<Entrant> {
  return openCrew(settings, {
    module,
    open: 'openGraphileWorkerProcess',
    install: () => runMigrations({ connectionString: settings.databaseUrl }),
    clear: (client) => client.query('truncate graphile_worker._private_jobs'),
    fill: (client, count) =>
      client.query(
        `select count(*) from graphile_worker.add_jobs(array(
           select json_populate_record(null::graphile_worker.job_spec,
             json_build_object('identifier', '${queue}', 'payload', ${payload}))
           from generate_series(1, ${count}) n))`,
      ),
    tables: ['graphile_worker._private_jobs'],
    left: 'select count(*)::integer as left from graphile_worker._private_jobs',
  })
}

export async function openGraphileWorkerProcess(settings: EntrantSettings): Promise<Entrant> {
  const handler = handlerOf(settings)
  return {
    async round() {
      const events = new EventEmitter()
      const empty = new Promise<void>((resolve) => {
        events.on('localQueue:getJobs:complete', ({ jobs }: { jobs: readonly unknown[] }) => {
          if (jobs.length === 0) resolve()
        })
      })
      const runner = await runGraphileWorker({
        noHandleSignals: true,
        events,
        taskList: { [queue]: (job) => handler.handle(job) as Promise<void> },
        preset: {
          worker: {
            connectionString: settings.databaseUrl,
            concurrentJobs: 24,
            maxPoolSize: 26,
            pollInterval: 100,
            localQueue: { size: 500 },
            completeJobBatchDelay: 0,
            failJobBatchDelay: 0,
          },
        },
      })
      await empty
      // Whatever is under way is completed.
      await runner.stop()
      return {}
    },
    close: async () => handler.close(),
  }
}

/** Fetched and completed in batches: `work` would wait half a second at least between two of them. */
export function openPgBoss(settings: EntrantSettings): Promise<Entrant> {
  return openCrew(settings, {
    module,
    open: 'openPgBossProcess',
    install: async () => {
      const boss = await startPgBoss(settings)
      await boss.createQueue(queue)
      await boss.stop({ graceful: false })
    },
    clear: (client) => client.query('truncate pgboss.job'),
    fill: (client, count) =>
      client.query(
        `insert into pgboss.job (name, data) select '${queue}', ${payload} from generate_series(1, ${count}) n`,
      ),
    tables: ['pgboss.job'],
    left: `select count(*)::integer as left from pgboss.job where state < 'completed'`,
  })
}

export async function openPgBossProcess(settings: EntrantSettings): Promise<Entrant> {
  const handler = handlerOf(settings)
  const boss = await startPgBoss(settings)
  const batchSize = 2_000
  async function work(): Promise<void> {
    for (;;) {
      const jobs = await boss.fetch(queue, { batchSize })
      if (jobs.length === 0) return
      await Promise.all(jobs.map(({ data }) => handler.handle(data)))
      await boss.complete(
        queue,
        jobs.map(({ id }) => id),
      )
    }
  }
  return {
    async round() {
      await Promise.all([work(), work()])
      return {}
    },
    async close() {
      await boss.stop({ graceful: false })
      handler.close()
    },
  }
}

async function startPgBoss({ databaseUrl }: EntrantSettings): Promise<PgBoss> {
  const boss = new PgBoss({ connectionString: databaseUrl, supervise: false, schedule: false })
  boss.on('error', () => {})
  await boss.start()
  return boss
}
