import { setTimeout as sleep } from 'node:timers/promises'
import { Redis } from 'ioredis'
import type { Watch, Write } from '../probe.js'
import {
  explain,
  nodeNumbers,
  nodeRows,
  observe,
  observeMs,
  registerWarm,
  type Scene,
  type Stage,
  stopAll,
  writeRow,
} from '../stage.js'

/** Shorter than the pause of any client before it connects again. */
const cutAgainMs = 5

export const subscriberCut: Scene = {
  title: 'The subscribers lose their connections during a write',
  async play(stage) {
    const { terminal, sides, redis } = stage
    const watches = await registerWarm(stage, 'Jean')
    for (const watch of watches) watch.poll(...nodeNumbers)
    const cut = redis ? await cutterOfRedis(redis.url) : cutterOfPostgres(stage)
    let writes: Write[]
    try {
      writes = await writeWhileCut(watches, cut.once)
    } finally {
      cut.close()
    }
    await observe(
      stage,
      observeMs,
      'the message reached no subscriber; all are connected again, reading every node',
    )
    await stopAll(watches)
    terminal.say(`${cut.command}, for as long as the write on node 2 takes:`)
    terminal.table(
      sides.map(({ name }) => name),
      [writeRow(writes, 'not answered'), ...nodeRows(watches, writes)],
    )
    explain(stage, {
      ours:
        'every message has a position in the order of commits. A node that reconnects or notices a gap reads ' +
        'what it has missed from Postgres.',
      naive:
        'Pub/Sub keeps no messages for absent subscribers. The client reconnects after about 50 ms, and no node ' +
        'notices that a message is missing.',
    })
  },
}

interface Cutter {
  readonly command: string
  once(): Promise<unknown>
  close(): void
}

async function cutterOfRedis(url: string): Promise<Cutter> {
  const admin = new Redis(url)
  admin.on('error', () => {})
  await admin.ping()
  return {
    command: 'CLIENT KILL TYPE pubsub',
    once: () => admin.client('KILL', 'TYPE', 'pubsub'),
    close: () => admin.disconnect(),
  }
}

/** Without Redis, hints use NOTIFY, and there is only one side. */
function cutterOfPostgres({ sides }: Stage): Cutter {
  return {
    command: 'pg_terminate_backend() on every LISTEN connection',
    once: async () => {
      await sides[0]?.witness.query(
        `select pg_terminate_backend(pid, 1000) from pg_stat_activity
         where datname = current_database() and application_name = 'aftercommit listener'`,
      )
    },
    close: () => {},
  }
}

async function writeWhileCut(watches: readonly Watch[], cut: () => Promise<unknown>): Promise<Write[]> {
  await cut()
  let answered = false
  const writing = Promise.all(
    watches.map(async (watch) => {
      const write = await watch.rename(2, 'Jean Bartik')
      await write.settled
      return write
    }),
  ).finally(() => {
    answered = true
  })
  while (!answered) {
    await Promise.race([writing, sleep(cutAgainMs)])
    if (!answered) await cut()
  }
  return writing
}
